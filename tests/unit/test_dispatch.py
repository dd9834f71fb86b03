"""Dispatch: what is sent, in which portions, and what is sent again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.dispatch import LOST_AFTER_S, PATIENT_S, chunk_size, dispatch, republish
from latentfarm.errors import ServiceUnavailable
from latentfarm.messages import CHUNK, MOST
from latentfarm.records import Pick, Picked, Queue
from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE = Queue(1, "base.tiny.bulk", Stage.BASE, "tiny", Lane.BULK, wait_s=1.0)


def picked(due: int, workers: int, capacity: int = 0) -> Picked:
    """So many renders for workers that hold so many together."""
    return Picked(
        QUEUE, tuple(Pick(number, 0, alone=False) for number in range(1, due + 1)), workers, capacity
    )


@dataclass
class Records:
    """So many renders due, so many dispatched; notes with which age and room it was asked for lost ones."""

    due: int = 0
    dispatched: int = 0
    workers: int = 1
    asked: list[tuple[float, int]] = field(default_factory=list)

    def pick(self, queue: Queue, *, window_per_worker: int) -> Picked:
        room = window_per_worker * max(1, self.workers) - self.dispatched
        count = max(0, min(room, self.due))
        self.due, self.dispatched = self.due - count, self.dispatched + count
        return picked(count, self.workers)

    def take_lost(self, queue: Queue, *, after_s: float, room: int) -> list[Pick]:
        self.asked.append((after_s, room))
        return [Pick(number, 0, alone=False) for number in range(1, min(room, self.dispatched) + 1)]

    def count_dispatched(self, queue: Queue) -> int:
        return self.dispatched


@dataclass
class Sent:
    """Remembers messages; `waiting` is what the list in Redis is said to hold."""

    waiting: int = 0
    chunks: list[tuple[str, int, int]] = field(default_factory=list)

    def send(self, queue: str, picks: Sequence[Pick], *, chunk: int) -> None:
        self.chunks.append((queue, len(picks), chunk))

    def length(self, queue: str) -> int:
        return self.waiting


@given(st.integers(0, 3000), st.integers(0, 50), st.integers(0, 20_000))
def test_chunks_are_bounded_and_leave_two_for_every_worker(due: int, workers: int, capacity: int) -> None:
    size = chunk_size(picked(due, workers, capacity))
    assert 1 <= size <= MOST
    if size > 1:
        assert due // size >= 2 * max(1, workers)
    if size > CHUNK:
        assert size * 16 <= capacity // max(1, workers)


def test_a_small_dispatch_has_small_messages() -> None:
    assert [chunk_size(picked(due, 2)) for due in (1, 8, 48, 2000)] == [1, 2, 8, 8]


def test_workers_that_hold_hundreds_get_larger_messages() -> None:
    sizes = [chunk_size(picked(200, 2, capacity)) for capacity in (0, 24, 256, 400, 768, 10_000)]
    assert sizes == [8, 8, 8, 12, 24, 24]


def test_a_dispatch_fills_the_window_and_no_more() -> None:
    records, sent = Records(due=100, workers=2), Sent()
    assert dispatch(records, sent, QUEUE) == 48
    assert dispatch(records, sent, QUEUE) == 0
    assert sent.chunks == [("base.tiny.bulk", 48, 8)]


def test_the_window_is_open_before_the_first_worker_comes() -> None:
    assert dispatch(Records(due=100, workers=0), Sent(), QUEUE) == 24


def test_nothing_due_sends_nothing() -> None:
    sent = Sent()
    assert dispatch(Records(), sent, QUEUE) == 0
    assert sent.chunks == []


def test_redis_away_is_told_after_the_commit() -> None:
    class Away(Sent):
        def send(self, queue: str, picks: Sequence[Pick], *, chunk: int) -> None:
            raise ServiceUnavailable("away")

    records = Records(due=5)
    with pytest.raises(ServiceUnavailable):
        dispatch(records, Away(), QUEUE)
    assert records.dispatched == 5


def test_after_a_flush_all_that_is_dispatched_goes_out_at_once() -> None:
    records, sent = Records(dispatched=40), Sent(waiting=0)
    assert republish(records, sent, QUEUE, flushed=True) == 40
    assert records.asked == [(0.0, 40)]


def test_an_idle_queue_is_not_asked_for_losses() -> None:
    records, sent = Records(), Sent(waiting=3)
    assert republish(records, sent, QUEUE, flushed=True) == 0
    assert records.asked == []


@pytest.mark.parametrize(("wait_s", "after_s"), [(0.0, LOST_AFTER_S), (1.0, LOST_AFTER_S), (10.0, 30.0)])
def test_a_short_list_makes_old_messages_lost_after_the_usual_wait(wait_s: float, after_s: float) -> None:
    records = Records(dispatched=40)
    queue = Queue(1, "q", Stage.BASE, "tiny", Lane.BULK, wait_s=wait_s)
    republish(records, Sent(waiting=0), queue, flushed=False)
    assert records.asked[0][0] == after_s


def test_a_list_long_enough_for_all_of_them_is_trusted_longer() -> None:
    records = Records(dispatched=40)
    republish(records, Sent(waiting=5), QUEUE, flushed=False)
    assert records.asked[0][0] == PATIENT_S


def test_a_long_list_may_be_one_of_large_messages() -> None:
    records = Records(dispatched=20 * MOST)
    republish(records, Sent(waiting=20), QUEUE, flushed=False)
    republish(records, Sent(waiting=19), QUEUE, flushed=False)
    assert [after_s for after_s, _ in records.asked] == [PATIENT_S, LOST_AFTER_S]


@given(st.integers(1, 100), st.integers(0, 300))
def test_a_queue_never_holds_more_than_twice_what_is_dispatched(dispatched: int, waiting: int) -> None:
    records, sent = Records(dispatched=dispatched), Sent(waiting=waiting)
    again = republish(records, sent, QUEUE, flushed=False)
    assert again == 0 or waiting + again <= 2 * dispatched
