"""What the benchmarks of speed share: turns, ratios, bounds and the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.measuring import page
from benchmarks.measuring.curve import Curve
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, quantile, ratio, take_turns

if TYPE_CHECKING:
    from pathlib import Path


def test_arms_take_turns_and_no_arm_always_comes_second() -> None:
    seen: list[str] = []

    def arm(name: str) -> float:
        seen.append(name)
        return float(len(seen))

    found = take_turns({"a": lambda: arm("a"), "b": lambda: arm("b")}, 2, warm=1)
    assert seen == ["b", "a", "a", "b", "b", "a"]
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]) == Spread(3.0, 2.0, 4.0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_a_bound_is_held_by_the_median() -> None:
    outcome = Outcome("some", "a against b.")
    outcome.least("as fast", Spread(1.5, 0.9, 1.7), 1.5)
    assert outcome.is_met
    outcome.most("as large", 1.3, 1.25)
    assert not outcome.is_met
    bounds = json.loads(outcome.as_json())["bounds"]
    assert bounds["as fast"] == {"value": 1.5, "bound": ">= 1.5", "met": True, "spread": [1.5, 0.9, 1.7]}
    assert bounds["as large"] == {"value": 1.3, "bound": "<= 1.25", "met": False}


def test_a_section_takes_the_place_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    page.PAGE.write_text("# Benchmarks\n")
    curve = Curve("some", "Some", "x", "y", {"a": [(1, 2), (10, 3)]}, logarithmic=True)
    for value in (1.0, 2.0):
        outcome = Outcome("some", "a against b.", {"a": value, "b": Spread(1, 0, 2)}, curves=[curve])
        outcome.least("a / b", value, 2)
        outcome.write()
    text = page.PAGE.read_text()
    assert text.startswith("# Benchmarks\n")
    assert text.count("## some") == 1
    assert "| a | 2 |" in text
    assert "| a | 1 |" not in text
    assert "| a / b | 2.0 | >= 2 | yes |" in text
    assert "![Some](some.png)" in text
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
