"""Who is let into the engine, and who is told what became of whom."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from latentfarm.errors import DeviceError, DeviceMemoryError, LatentsError, SpecError
from latentfarm.states import Lane, Stage
from worker.engine.desk import Desk
from worker.engine.order import Counters, Order
from worker.engine.roster import Entry, Phase, Roster, next_to_admit

BULK, INTERACTIVE = Lane.BULK, Lane.INTERACTIVE


def order(render_id: int = 1, lane: Lane = BULK, *, alone: bool = False) -> Order:
    return Order(render_id, 1, Stage.BASE, cast("Any", None), 0, lane, alone=alone)


def entries(*wishes: tuple[Lane, Phase] | tuple[Lane, Phase, bool]) -> list[Entry]:
    return [Entry(order(i, wish[0], alone=len(wish) > 2), i, phase=wish[1]) for i, wish in enumerate(wishes)]


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ([], None),
        ([(BULK, Phase.ADMITTED)], None),
        ([(BULK, Phase.WAITING), (INTERACTIVE, Phase.WAITING)], 1),
        ([(BULK, Phase.WAITING), (BULK, Phase.WAITING)], 0),
        # bulk up to the room, while stepping and while decoding; interactive always
        ([(BULK, Phase.ADMITTED), (BULK, Phase.ADMITTED), (BULK, Phase.WAITING)], None),
        ([(BULK, Phase.FINISHING), (BULK, Phase.FINISHING), (BULK, Phase.WAITING)], None),
        ([(BULK, Phase.FINISHING), (BULK, Phase.ADMITTED), (BULK, Phase.WAITING)], 2),
        ([(BULK, Phase.ADMITTED), (BULK, Phase.ADMITTED), (INTERACTIVE, Phase.WAITING)], 2),
        ([(INTERACTIVE, Phase.ADMITTED), (INTERACTIVE, Phase.ADMITTED), (BULK, Phase.WAITING)], 2),
        # alone: only into an empty engine, and then nobody else
        ([(BULK, Phase.ADMITTED), (BULK, Phase.WAITING, True)], None),
        ([(BULK, Phase.FINISHING), (BULK, Phase.WAITING, True)], None),
        ([(BULK, Phase.WAITING, True), (BULK, Phase.WAITING)], 0),
        ([(BULK, Phase.ADMITTED, True), (INTERACTIVE, Phase.WAITING)], None),
        ([(BULK, Phase.ADMITTED), (BULK, Phase.WAITING, True), (BULK, Phase.WAITING)], None),
        ([(BULK, Phase.WAITING, True), (INTERACTIVE, Phase.WAITING)], 1),
    ],
)
def test_admission(wishes: list[tuple[Lane, Phase]], expected: int | None) -> None:
    found = next_to_admit(entries(*wishes), room=2)
    assert (found.arrival if found else None) == expected


def test_a_waiting_preparer_is_woken_by_room_and_by_the_end() -> None:
    roster = Roster(room=1)
    first, second = order(1), order(2)
    roster.add(first)
    assert roster.admit() is not None
    roster.add(second)
    found: list[Entry | None] = []
    thread = threading.Thread(target=lambda: found.extend([roster.admit(), roster.admit()]))
    thread.start()
    assert roster.settle(first)
    while not found and roster.inside() != [second]:
        thread.join(0.01)
    roster.close()
    thread.join(10)
    assert [entry.order if entry else None for entry in found] == [second, None]


def test_a_render_that_comes_again_is_another_order() -> None:
    """Superseded and claimed again by the same worker: dropping the old must not take the new."""
    roster = Roster(room=4)
    old, new = order(7), order(7)
    roster.add(old)
    roster.drop(7)
    roster.add(new)
    assert not roster.holds(old)
    assert roster.settle(new)
    assert not roster.settle(new)


def test_counts_and_leftovers() -> None:
    roster = Roster(room=4)
    orders = [order(1), order(2, INTERACTIVE), order(3)]
    for each in orders:
        roster.add(each)
    assert (roster.count(None), roster.count(BULK), roster.count(INTERACTIVE)) == (3, 2, 1)
    assert [entry.order for entry in roster.clear()] == orders
    assert roster.count(None) == 0


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def stepped(self, order: Order, done: int, total: int) -> None:
        self.heard.append(("stepped", (done, total)))

    def checkpointed(self, order: Order, checkpoint: Any) -> None:
        self.heard.append(("checkpointed", checkpoint.step))

    def finished(self, order: Order, result: Any) -> None:
        self.heard.append(("finished", result))

    def failed(self, order: Order, error: Exception) -> None:
        self.heard.append(("failed", type(error)))


def test_the_listener_hears_of_an_order_once() -> None:
    roster, ear, counters = Roster(room=4), Ear(), Counters()
    desk = Desk(roster, ear, counters)
    one = order(1)
    roster.add(one)
    desk.stepped(cast("Any", SimpleNamespace(order=one, index=1, total=9)))
    desk.finished(one, cast("Any", "picture"))
    desk.finished(one, cast("Any", "again"))
    desk.failed(one, ValueError("late"))
    desk.stepped(cast("Any", SimpleNamespace(order=one, index=2, total=9)))
    assert ear.heard == [("stepped", (1, 9)), ("finished", "picture")]
    assert counters.errors == {}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such thing"), SpecError),
        (RuntimeError("shapes do not match"), SpecError),
        (LatentsError("altered"), LatentsError),
        (MemoryError(), DeviceMemoryError),
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceMemoryError),
        (RuntimeError("MPS backend out of memory"), DeviceMemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), DeviceMemoryError),
    ],
)
def test_errors_get_their_names(error: Exception, told: type[Exception]) -> None:
    roster, ear, counters = Roster(room=4), Ear(), Counters()
    one = order(1)
    roster.add(one)
    Desk(roster, ear, counters).failed(one, error)
    assert ear.heard == [("failed", told)]
    assert sum(counters.errors.values()) == 1


def test_a_lost_device_is_not_one_orders_error() -> None:
    roster, ear = Roster(room=4), Ear()
    desk = Desk(roster, ear, Counters())
    inside, waiting = order(1), order(2)
    roster.add(inside)
    assert roster.admit() is not None
    roster.add(waiting)
    lost = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(RuntimeError):
        desk.failed(inside, lost)
    assert ear.heard == []
    assert isinstance(desk.all_failed(lost), DeviceError)
    assert ear.heard == [("failed", DeviceError)]
    assert [entry.order for entry in roster.clear()] == [waiting]
