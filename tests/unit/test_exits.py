"""Exit statuses of a child: a parent must not take one for another."""

from __future__ import annotations

from worker import exits


def test_each_status_says_one_thing() -> None:
    statuses = [value for name, value in vars(exits).items() if name.isupper()]
    assert len(statuses) >= 3
    assert len(set(statuses) - {0, 1, 2}) == len(statuses), "0 to 2 are Python's own"
