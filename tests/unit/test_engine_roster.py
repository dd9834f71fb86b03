"""Who is let into the engine, and who is told what became of whom."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from latentfarm.errors import DeviceError, DeviceMemoryError, LatentsError, SpecError
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane, Stage
from worker.engine.desk import Desk
from worker.engine.order import Counters, Order
from worker.engine.roster import GATHER_S, Entry, Phase, Roster, gathers_s, next_to_admit

BULK, INTERACTIVE = Lane.BULK, Lane.INTERACTIVE


def order(render_id: int = 1, lane: Lane = BULK, *, alone: bool = False, **fields: Any) -> Order:
    spec = RenderSpec.model_validate({"prompt": "a", "model": "a", **fields})
    return Order(render_id, 1, Stage.BASE, spec, 0, lane, alone=alone)


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


def asking(render_id: int, model: str, lane: Lane = BULK, stage: Stage = Stage.BASE, **more: Any) -> Order:
    return Order(render_id, 1, stage, RenderSpec(prompt="a", model=model), 0, lane, **more)


def test_mates_are_those_that_wait_for_the_same() -> None:
    roster = Roster(room=1)
    roster.add(asking(1, "a"))
    first = roster.admit()
    assert first is not None
    others = [
        asking(2, "a"),
        asking(3, "b"),
        asking(4, "a", INTERACTIVE),
        asking(5, "a", stage=Stage.REFINE),
        asking(6, "a", alone=True),
        asking(7, "a"),
        asking(8, "a"),
    ]
    for one in others:
        roster.add(one)
    assert [one.render_id for one in roster.mates(first, 3)] == [1, 2, 7]
    assert [one.render_id for one in roster.mates(first, 9)] == [1, 2, 7, 8]
    roster.drop(2)
    assert [one.render_id for one in roster.mates(first, 3)] == [1, 7, 8]


@pytest.mark.parametrize(
    ("first", "stepping", "waits"),
    [
        (order(1), 4, True),
        (order(1), 3, False),  # too few: the next forward would not be full
        (order(1, INTERACTIVE), 4, False),
        (order(1, alone=True), 4, False),
        (order(1, reproducible=True), 4, False),
        (order(1, prompt_weighting="compel"), 4, False),
    ],
    ids=["bulk", "idle", "interactive", "alone", "reproducible", "weighted"],
)
def test_a_bulk_order_waits_for_mates_while_there_is_enough_to_do(
    first: Order, stepping: int, *, waits: bool
) -> None:
    sample = cast("Any", object())
    busy = [Entry(order(i), i, phase=Phase.ADMITTED, sample=sample) for i in range(stepping)]
    unprepared = [Entry(order(i), i, phase=Phase.ADMITTED) for i in range(9)]
    entry = Entry(first, 99)
    left_s = gathers_s(entry, [*busy, *unprepared, entry], 4)
    assert (0 < left_s <= GATHER_S) if waits else left_s == 0
    assert gathers_s(entry, [*busy, entry], 0) == 0, "no forward takes more than one"
    entry.came_at -= GATHER_S
    assert gathers_s(entry, [*busy, entry], 4) <= 0


def test_who_waits_for_mates_is_let_in_in_the_end() -> None:
    roster = Roster(room=4)
    for number in range(2):
        roster.add(order(number))
        entry = roster.admit()
        assert entry is not None
        roster.activate(entry, cast("Any", SimpleNamespace(arrival=0)))
    roster.add(order(2))
    entry = roster.admit()  # by the clock: nothing else happens any more
    assert entry is not None
    assert entry.order.render_id == 2
    assert time.monotonic() >= entry.came_at + GATHER_S
