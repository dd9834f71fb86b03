"""What is done with findings, and how scorers are plugged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import InvalidInput
from tests.drawing import picture
from worker.seal.policy import Policy, Verdict, judge
from worker.seal.quality import measure
from worker.seal.scorer import load_scorer, scores_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.seal.scorer import Scorer

BLACK = measure(picture())
GREY = measure(picture(fill=(99, 99, 99)))
HERE = __name__


def length(image: bytes, caption: str) -> Mapping[str, float]:
    return {"length": len(caption), "bytes": len(image)}


def broken(image: bytes, caption: str) -> Mapping[str, float]:
    return {"beauty": float("nan")}


def factory() -> Scorer:
    return length


def no_scorer() -> int:
    return 1


def test_nothing_found_nothing_done() -> None:
    assert judge(Policy(), None, None) == Verdict(None)


def test_findings_are_marked_unless_told_otherwise() -> None:
    assert judge(Policy(), GREY, None) == Verdict("mark", ("uniform",))
    assert judge(Policy(), None, 3) == Verdict("mark", ("duplicate",))


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        (Policy(uniform="again"), Verdict("again", ("uniform",))),
        (Policy(uniform="again", dark="drop"), Verdict("drop", ("dark",))),
        (Policy(uniform="drop", dark="again"), Verdict("drop", ("uniform",))),
        (Policy(dark="again", uniform="again"), Verdict("again", ("dark", "uniform"))),
        (Policy(duplicate="drop"), Verdict("drop", ("duplicate",))),
        (Policy(non_finite="again"), Verdict("again", ("non_finite",))),
    ],
)
def test_the_strongest_action_decides(policy: Policy, verdict: Verdict) -> None:
    assert judge(policy, BLACK, 0, non_finite=True) == verdict
    assert verdict.reason == verdict.reasons[0]


def test_scores_are_sorted_by_name() -> None:
    scorer = load_scorer(f"{HERE}:factory")
    assert list(scores_of([scorer], b"abc", "ab").items()) == [("bytes", 3.0), ("length", 2.0)]


def test_scores_that_say_nothing_or_clash_are_errors() -> None:
    with pytest.raises(ValueError, match="score 'beauty' is nan"):
        scores_of([broken], b"", "")
    with pytest.raises(ValueError, match="two scorers give 'length'"):
        scores_of([length, length], b"", "")


@pytest.mark.parametrize(
    "place",
    [
        "",
        "json",
        ":dumps",
        "json:",
        "no_such_module_x:f",
        "json:nothing",
        f"{HERE}:BLACK",
        f"{HERE}:no_scorer",
    ],
)
def test_a_place_without_a_scorer_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput, match="scorers"):
        load_scorer(place)
