"""Templates: what they give, how much before any is made, and what is said of those that give nothing."""

from __future__ import annotations

from typing import Any

import pytest

from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.manifests import template_count
from latentfarm.manifests.effort import MARK_UNITS, MOST_UNITS, Effort
from latentfarm.manifests.request import DatasetRequest
from latentfarm.manifests.templates import MAX_DEPTH, MAX_PROMPTS, Templates

WILDCARDS = {
    "color": ("red", "blue", "{light|dark} green", "red"),
    "of/place": ("sea", "moon"),
    "loop": ("a __loop__",),
    "odd": ("__nope__",),
}


def templates(
    mode: str = "combinatorial", *, seed: int = 1, units: int = MOST_UNITS, **changes: Any
) -> Templates:
    fields = {"name": "a", "manifest": {"prompts": ("x",)}, "template": mode, "wildcards": WILDCARDS}
    return Templates(DatasetRequest.model_validate(fields | changes), seed, Effort(units))


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a cat", ["a cat"]),
        ("(a cat:1.2), [b]", ["(a cat:1.2), [b]"]),
        ("{red|blue} cat", ["red cat", "blue cat"]),
        ("{a|b} {c|d}", ["a c", "a d", "b c", "b d"]),
        ("__of/place__", ["moon", "sea"]),
        ("__color__", ["blue", "red", "light green", "dark green"]),
        ("{2$$ and $$a|b|c}", [f"{x} and {y}" for x in "abc" for y in "abc" if x != y]),
        ("{2$$__of/place__}", ["moon,sea", "sea,moon"]),
        ("${x={a|b}}${x}${x}", ["aa", "ab", "ba", "bb"]),
        ("${x=!{a|b}}${x}{c|d}", ["ac", "ad"]),
        ("${x=1}${y=${x}2}${y}", ["12"]),
        ("%{a ... day$${sunny|windy}}", ["a sunny day", "a windy day"]),
        ("{|very }old", ["old", "very old"]),
    ],
)
def test_a_template_gives_every_variant_and_was_counted_before(text: str, prompts: list[str]) -> None:
    made = templates()
    assert made.count(text) == len(prompts)
    assert list(made.expand(text, 0)) == prompts


def test_variants_that_come_out_equal_are_counted_at_most() -> None:
    made = templates()
    assert made.count("{a|a|b}") == 3
    assert list(made.expand("{a|a|b}", 0)) == ["a", "b"]


def test_a_part_may_be_drawn_where_the_rest_is_gone_through() -> None:
    made = templates()
    assert made.count("{~a|b|c} {d|e}") == 2
    assert [text[-1] for text in made.expand("{~a|b|c} {d|e}", 0)] == ["d", "e"]
    assert made.count("__~color__ {d|e}") == len(list(made.expand("__~color__ {d|e}", 0))) == 2


def test_what_is_drawn_follows_from_seed_row_and_template() -> None:
    text, made = "{a|b|c|d|e|f} __color__ {~g|h}", templates("random", template_samples=20)
    first = list(made.expand(text, 3))
    assert made.count(text) == len(first) == 20
    assert len(set(first)) > 5
    assert list(templates("random", template_samples=20).expand(text, 3)) == first
    assert list(made.expand(text, 4)) != first
    assert list(templates("random", template_samples=20, seed=2).expand(text, 3)) != first


def test_a_prompt_without_variants_is_drawn_as_often() -> None:
    assert list(templates("random", template_samples=3).expand("a cat", 0)) == ["a cat"] * 3


def test_without_templates_braces_are_text() -> None:
    made = templates("off")
    assert (made.count("{a|b} __nope__"), list(made.expand("{a|b", 0))) == (1, ["{a|b"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{a|b|c|d|e|f|g|h|i|j}" * 12, "gives 1000000000000 prompts"),
        pytest.param("{a|b}" * 1_000, "gives over 10^18 prompts", marks=pytest.mark.long),
        ("{5-30$$" + "|".join(map(str, range(40))) + "}", "30 of 40 in any order"),
        ("{6$$a|b|c|d|e|f|g|h|i}", ""),
        ("{7$$a|b|c|d|e|f|g|h|i}", "181440 choices"),
        ("${a=x}" + "".join(f"${{{'a' * (n + 1)}=${{{'a' * n}}}${{{'a' * n}}}}}" for n in range(1, 41)) + "${" + "a" * 41 + "}", "too involved"),
    ],
)  # fmt: skip
def test_what_a_template_gives_is_known_before_any_is_made(text: str, said: str) -> None:
    made = templates()
    if not said:
        assert made.count(text) <= MAX_PROMPTS
        return
    with pytest.raises(InvalidInput, match="prompt: ") as caught:
        made.count(text)
    assert said in caught.value.message


@pytest.mark.parametrize("mode", ["combinatorial", "random"])
@pytest.mark.parametrize(
    ("text", "message", "allowed"),
    [
        ("a __nope__", "unknown wildcard __nope__", "__color__"),
        ("{a|{2$$__nope__}}", "unknown wildcard __nope__", "__color__"),
        ("__odd__", "unknown wildcard __nope__", "__color__"),
        ("__col*__", "unknown wildcard __col*__", "__color__"),
        ("__loop__", "__loop__ names itself", ""),
        ("${x}", "no variable ${x}", "${x=...}"),
        ("${x=${x}}${x}", "${x} names itself", ""),
        ("{a|b", "a brace is not closed", "pairs"),
        ("{" * (MAX_DEPTH + 1) + "a" + "}" * (MAX_DEPTH + 1), "nested too deep", "8 levels"),
        ("100% wool", "cannot be read at character 4", "{a|b}"),
        ("a" * 8_193, "8193 characters", "8192"),
    ],
)
def test_a_template_that_means_nothing_is_refused(mode: str, text: str, message: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        templates(mode).count(text)
    assert caught.value.field == "prompt"
    assert message in caught.value.message
    assert allowed in caught.value.allowed


def test_the_name_of_a_wildcard_is_plain() -> None:
    with pytest.raises(NotSupported, match="made of a variable"):
        templates().count("${x=color}__${x}__")


def test_what_goes_through_all_has_no_place_in_a_draw() -> None:
    with pytest.raises(InvalidInput, match="takes each"):
        templates("random").count("{!a|b}")
    with pytest.raises(InvalidInput, match="takes each"):
        templates().count("{~{!a|b}|c}")


def test_a_wildcard_is_counted_once_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand values in each of a million rows."""
    monkeypatch.setattr(template_count, "MAX_PARTS", 60)
    made = templates(wildcards={"n": tuple(str(number) for number in range(50))})
    assert made.count("__n__ a") == made.count("__n__ b") == 50
    assert made.count("__n__ __n__ __n__") == 50**3


HUGE = {"n": tuple(f"{{{number}|b}}" for number in range(300))}
COSTLY: list[tuple[str, str, dict[str, Any]]] = [
    # Parsed at every draw: three hundred values, for one picture.
    ("random", "{{2$$__n__}|{2$$__n__}}", {"wildcards": HUGE, "template_samples": 100}),
    # Half of the variants are looked for among all of them.
    ("random", "{1-900$$" + "|".join(map(str, range(900))) + "}", {"template_samples": 100}),
    # All come out equal: one image for a million of them.
    ("combinatorial", "{a|a|a|a|a|a|a|a|a|a}" * 6, {}),
    ("random", "a __n__", {"wildcards": HUGE, "template_samples": 100_000}),
]


@pytest.mark.parametrize(("mode", "text", "changes"), COSTLY)
def test_what_a_template_takes_is_known_before_any_is_made(
    mode: str, text: str, changes: dict[str, Any]
) -> None:
    made = templates(mode, units=50_000, **changes)
    made.count(text)
    with pytest.raises(InvalidInput, match=r"prompt: .* take too long") as caught:
        next(made.expand(text, 0))
    assert "up to 50000 units" in caught.value.allowed


@pytest.mark.parametrize(("mode", "text"), [("combinatorial", "{a|b}"), ("random", "a __n__")])
def test_what_is_read_of_a_template_counts_too(mode: str, text: str) -> None:
    """Ten thousand rows with a template of their own each."""
    made = templates(mode, units=20 * MARK_UNITS, wildcards={"n": ("x", "y")})
    made.count(f"0 {text}")
    texts = iter(f"{number} {text}" for number in range(1, 20))
    with pytest.raises(InvalidInput, match="take too long"):
        list(map(made.count, texts))
    assert next(texts)  # it did not come to all of them


@pytest.mark.long
def test_usual_templates_stay_far_from_what_a_request_may_take() -> None:
    wildcards = {"animal": tuple(f"animal {number}" for number in range(10_000))}
    made = templates("random", units=100_000, wildcards=wildcards, template_samples=2_000)
    text = "a {red|blue|green} __animal__ in the {sun|rain}"
    assert len(list(made.expand(text, 0))) == 2_000
