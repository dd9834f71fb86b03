"""What the core says of weighted prompts: clear refusals, and no word about any other prompt."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.spec import RenderSpec
from latentfarm.weighting import MAX_CHARS, MAX_DEPTH, check_weighting

FIELDS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")
GOOD = [
    "",
    "a large red circle",
    "a (large)1.4 circle, red++, (dark)0.3, blue--",
    "((a)1.2 b)1.1 c.attend(2)",
    '"a red circle"++ on black',
    '("a red circle", "a blue square").and(1, 0.5)',
    '("a (red)1.2 circle", "a blue square") .blend(0.7, 0.3, no_normalize) ',
    'a circle \\(16:9\\), 5\\" wide, \\)',
    "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH,
    "a" + "+" * 24,
    "(a)10 t-shirt, 1.5 C, ratio 16:9",
    "x" * MAX_CHARS,
]
BAD = [
    ("a (red", "not closed"),
    ("a) red", "was not opened"),
    (")(", "was not opened"),
    ('a "red', "quote"),
    ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), "too deep"),
    ("(red:1.3) circle", "other tools"),
    ("(red : .5 ) circle", "other tools"),
    ("useLora(style, 0.5) a", "LoRAs"),
    ("a withLora(style)", "LoRAs"),
    ("(a)10.5", "10.5 is too large"),
    ('"a"99', "99 is too large"),
    ("a.attend(11)", "11 is too large"),
    ("a" + "+" * 25, "too large"),
    ('("a", "b").and() more words', "nothing before or after"),
    ('before ("a", "b").and()', "nothing before or after"),
    ('("a", "b").and()++', "nothing before or after"),
    ('(("a", "b").blend(), "c").and()', "nothing before or after"),
    ("x" * (MAX_CHARS + 1), f"{MAX_CHARS + 1} characters"),
]


def spec(**fields: Any) -> RenderSpec:
    return RenderSpec.model_validate({"prompt": "a", "prompt_weighting": "compel", **fields})


@pytest.mark.parametrize("text", GOOD)
def test_what_the_library_reads_passes(text: str) -> None:
    for field in FIELDS:
        check_weighting(spec(**{field: text}))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_it_would_take_for_something_else_is_refused_by_name(text: str, reason: str, field: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        check_weighting(spec(**{field: text}))
    assert refused.value.field == field
    assert refused.value.allowed


def test_what_is_not_built_is_called_so() -> None:
    with pytest.raises(NotSupported, match="swap"):
        check_weighting(spec(prompt="a cat.swap(dog)"))


@pytest.mark.parametrize("text", [text for text, _ in BAD])
def test_without_the_field_every_character_is_text(text: str) -> None:
    check_weighting(RenderSpec(prompt=text))


@given(st.text(alphabet='()"\\.+-:1a and', max_size=400))
def test_any_text_is_judged(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        check_weighting(spec(prompt=text))
