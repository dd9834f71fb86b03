"""What the trial of single faults reads out of a trace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.evidence import Evidence
from tests.chaos.trials.waits import Wait, slowest, waits


def _evidence(moves: list[tuple[float, int, int]], truth: list[dict[str, Any]]) -> Evidence:
    rows = [
        {"at": datetime.fromtimestamp(at, UTC), "render_id": render, "state": state}
        for at, render, state in moves
    ]
    return Evidence([], [], [], [], [], rows, [], [], [], [], truth)


def test_a_wait_lasts_from_the_queue_to_the_claim() -> None:
    found = waits(_evidence([(10, 1, 0), (11, 1, 1), (13, 1, 2), (15, 1, 0), (16, 1, 2), (17, 1, 3)], []))
    assert found == [Wait(10, 13), Wait(15, 16)]


def test_a_cancelled_render_was_not_claimed() -> None:
    assert waits(_evidence([(10, 1, 0), (12, 1, 5)], [])) == []


def test_the_slowest_is_counted_from_the_fault_and_only_while_it_lasts() -> None:
    moves = [(1, 1, 0), (12, 1, 2), (13, 2, 0), (18, 2, 2), (30, 3, 0), (90, 3, 2)]
    truth = [
        {"kind": "fault", "fault": "freeze", "number": 7, "t": 10.0},
        {"kind": "fault_over", "fault": "freeze", "number": 7, "t": 20.0},
        {"kind": "fault", "fault": "flush_of_many", "number": -1, "t": 15.0},
    ]
    assert slowest(_evidence(sorted(moves), truth)) == {"freeze": [pytest.approx(5.0)]}
