"""The shared bytes between child and parent, and when a child counts as stalled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.heartbeat import Heartbeat, Stall

if TYPE_CHECKING:
    from pathlib import Path


def test_the_parent_reads_what_the_child_wrote(tmp_path: Path) -> None:
    with Heartbeat(tmp_path / "beat", create=True) as parent, Heartbeat(tmp_path / "beat") as child:
        assert parent.read() == (0, 0.0)
        child.write(2**63, 15.5)
        assert parent.read() == (2**63, 15.5)


def test_what_was_written_outlives_the_child(tmp_path: Path) -> None:
    with Heartbeat(tmp_path / "beat", create=True) as parent:
        with Heartbeat(tmp_path / "beat") as child:
            child.write(7, 1.0)
        assert parent.read() == (7, 1.0)


def test_a_child_does_not_make_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Heartbeat(tmp_path / "beat")


def test_a_beat_that_moves_is_no_stall_however_long_it_goes_on() -> None:
    stall = Stall(now=0.0)
    assert not any(stall.is_stalled(beat, 15.0, now=10.0 * beat) for beat in range(100))


def test_a_beat_that_stands_still_is_a_stall_after_the_limit() -> None:
    stall = Stall(now=0.0)
    assert not stall.is_stalled(5, 15.0, now=100.0)
    assert not stall.is_stalled(5, 15.0, now=115.0)
    assert stall.is_stalled(5, 15.0, now=115.1)


def test_one_beat_is_enough_to_begin_anew() -> None:
    stall = Stall(now=0.0)
    assert not stall.is_stalled(5, 15.0, now=0.0)
    assert not stall.is_stalled(6, 15.0, now=14.0)
    assert not stall.is_stalled(6, 15.0, now=28.0)
    assert stall.is_stalled(6, 15.0, now=30.0)


def test_a_child_that_never_beats_has_from_the_start() -> None:
    stall = Stall(now=50.0)
    assert not stall.is_stalled(-1, 900.0, now=949.0)
    assert stall.is_stalled(-1, 900.0, now=951.0)


def test_a_longer_limit_forgives() -> None:
    """A child that announces a slow step is given the time at once."""
    stall = Stall(now=0.0)
    stall.is_stalled(5, 15.0, now=0.0)
    assert stall.is_stalled(5, 15.0, now=20.0)
    assert not stall.is_stalled(5, 60.0, now=20.0)
