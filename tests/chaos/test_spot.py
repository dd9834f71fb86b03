"""The count of steps that were done twice, which the trial of spot reclaims rests on."""

from __future__ import annotations

from tests.chaos.trials.spot import Break, breaks


def test_going_on_where_the_other_stopped_repeats_nothing() -> None:
    steps = [(1, 1, 0, 1), (1, 1, 0, 2), (1, 3, 0, 3), (1, 3, 0, 4)]
    assert breaks(steps) == [Break(at=2, repeated=0)]


def test_each_break_is_counted_for_itself() -> None:
    first = [(1, 1, 0, step) for step in (1, 2, 3)]
    second = [(1, 3, 0, step) for step in (3, 4, 5)]
    third = [(1, 5, 0, step) for step in (2, 3, 4, 5, 6)]
    assert breaks([*third, *first, *second]) == [Break(at=3, repeated=1), Break(at=5, repeated=4)]


def test_a_step_left_out_is_told() -> None:
    assert breaks([(1, 1, 0, 1), (1, 3, 0, 3)]) == [Break(at=1, repeated=-1)]


def test_stages_and_renders_are_apart() -> None:
    assert breaks([(1, 1, 0, 2), (1, 3, 1, 1), (2, 1, 0, 1)]) == []
