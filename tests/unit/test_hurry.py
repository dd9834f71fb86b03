"""What was just accepted is sent in its order, in few sends, and before the API ends."""

from __future__ import annotations

import queue

from api.hurry import Hurry, joined
from latentfarm.records import Pick, Picked, Queue
from latentfarm.states import Lane, Stage

QUEUES = [Queue(number, f"queue{number}", Stage.BASE, "tiny", Lane.INTERACTIVE) for number in (1, 2)]


def picked(number: int, *renders: int) -> Picked:
    return Picked(QUEUES[number - 1], tuple(Pick(render, 0, alone=False) for render in renders), 1, 12)


def test_what_goes_to_one_queue_goes_together_and_in_order() -> None:
    told: list[int | Picked] = [picked(1, 5), 2, picked(2, 6), picked(1, 7, 8), 2, 1]
    assert joined(told) == [picked(1, 5, 7, 8), picked(2, 6), 2, 1]


def test_what_was_told_before_the_end_is_sent() -> None:
    told: queue.SimpleQueue[int | Picked | None] = queue.SimpleQueue()
    sent: list[int | Picked] = []
    hurry = Hurry(told, sent.append)
    told.put(picked(1, 5))
    told.put(2)
    hurry.start()
    hurry.stop()
    assert not hurry.is_alive()
    assert sent == [picked(1, 5), 2]


def test_no_error_ends_it() -> None:
    told: queue.SimpleQueue[int | Picked | None] = queue.SimpleQueue()
    sent: list[int | Picked] = []

    def send(one: int | Picked) -> None:
        if one == 2:
            # What a client of Redis raises whose connection is closed by another thread.
            raise ValueError("I/O operation on closed file")
        sent.append(one)

    hurry = Hurry(told, send)
    for one in (2, 3):
        told.put(one)
    hurry.start()
    hurry.stop()
    assert sent == [3]
