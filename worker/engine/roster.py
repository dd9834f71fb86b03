"""Every order that the engine has, from submission until the listener is told. Safe in threads."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.engine.order import Order
    from worker.engine.sample import Sample


GATHER_S = 0.02
"""How long a bulk order waits for others that come with it, while there are steps to take: their prompts are read together."""


class Phase(IntEnum):
    """How far an order has come inside the engine."""

    WAITING = 0  # taken, nothing done
    ADMITTED = 1  # being prepared, or taking steps
    FINISHING = 2  # all steps done: waits for decoding, or is decoded


@dataclass(slots=True, eq=False)
class Entry:
    """One order and where it is.

    Attributes:
        arrival: order of submission.
        sample: once it is prepared.
        came_at: monotonic seconds.
    """

    order: Order
    arrival: int
    phase: Phase = Phase.WAITING
    sample: Sample | None = None
    came_at: float = field(default_factory=time.monotonic)


def next_to_admit(entries: Iterable[Entry], room: int) -> Entry | None:
    """Who may be prepared now: interactive before bulk, then by arrival.

    Interactive orders are always let in; bulk ones while fewer than `room` of them take steps and
    fewer than `room` wait for decoding. An order that must be alone waits until the engine is
    empty, and while it is inside nobody else comes in.
    """
    waiting = [entry for entry in entries if entry.phase is Phase.WAITING]
    inside = [entry for entry in entries if entry.phase is not Phase.WAITING]
    if not waiting or any(entry.order.alone for entry in inside):
        return None
    first = min(waiting, key=lambda entry: (entry.order.lane is not Lane.INTERACTIVE, entry.arrival))
    if first.order.alone:
        return None if inside else first
    if first.order.lane is Lane.INTERACTIVE:
        return first
    bulk = [entry.phase for entry in inside if entry.order.lane is not Lane.INTERACTIVE]
    full = bulk.count(Phase.ADMITTED) >= room or bulk.count(Phase.FINISHING) >= room
    return None if full else first


def gathers_s(entry: Entry, entries: Iterable[Entry], enough: int) -> float:
    """Seconds that the entry, which may be prepared, should wait all the same for others to be prepared with it.

    None of an order whose prompt is read alone, none while fewer than `enough` samples take steps, and none at all where
    `enough` is 0: a forward that takes one sample is always full.
    """
    if not enough or not entry.order.has_company:
        return 0.0
    stepping = sum(1 for one in entries if one.phase is Phase.ADMITTED and one.sample is not None)
    return entry.came_at + GATHER_S - time.monotonic() if stepping >= enough else 0.0


class Roster:
    """The engine's record of its orders.

    Args:
        room: bulk samples that may take steps at the same time.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: dict[int, Entry] = {}
        self._arrivals = 0
        self._closed = False
        self._changed = threading.Condition()

    def add(self, order: Order) -> None:
        """Takes an order in."""
        with self._changed:
            self._arrivals += 1
            self._entries[id(order)] = Entry(order, self._arrivals)
            self._changed.notify_all()

    def admit(self) -> Entry | None:
        """Waits for an order that may be prepared; None once the roster is closed."""
        with self._changed:
            while not self._closed:
                entry = next_to_admit(self._entries.values(), self._room)
                # A full forward of guided samples has half as many as it has rows.
                wait_s = gathers_s(entry, self._entries.values(), self._room // 4) if entry else None
                if entry is not None and wait_s is not None and wait_s <= 0:
                    entry.phase = Phase.ADMITTED
                    return entry
                self._changed.wait(wait_s)
            return None

    def mates(self, entry: Entry, count: int) -> list[Order]:
        """An entry's order, then those that wait and have its model, stage and lane; up to `count`, oldest first."""
        order = entry.order
        kind = (order.spec.model, order.stage, order.lane)
        with self._changed:
            waiting = (e.order for e in self._entries.values() if e.phase is Phase.WAITING)
            alike = (o for o in waiting if not o.alone and (o.spec.model, o.stage, o.lane) == kind)
            return [order, *itertools.islice(alike, count - 1)]

    def activate(self, entry: Entry, sample: Sample) -> None:
        """The order is prepared: from now on its sample takes steps."""
        with self._changed:
            sample.arrival = entry.arrival
            entry.sample = sample
            self._changed.notify_all()

    def active(self, patience_s: float) -> list[Sample]:
        """The samples that take steps; waits up to `patience_s` seconds for the first one."""
        with self._changed:
            found = self._stepping()
            if not found and not self._closed:
                self._changed.wait(patience_s)
                found = self._stepping()
            return found

    def _stepping(self) -> list[Sample]:
        return [
            entry.sample
            for entry in self._entries.values()
            if entry.phase is Phase.ADMITTED and entry.sample is not None
        ]

    def retire(self, sample: Sample) -> None:
        """The sample has taken its last step."""
        with self._changed:
            entry = self._entries.get(id(sample.order))
            if entry is not None:
                entry.phase = Phase.FINISHING
            self._changed.notify_all()

    def holds(self, order: Order) -> bool:
        """Whether the listener still waits for this order: it was neither settled nor dropped."""
        with self._changed:
            return id(order) in self._entries

    def settle(self, order: Order) -> bool:
        """Takes an order out. True for the one caller that may tell the listener."""
        with self._changed:
            found = self._entries.pop(id(order), None) is not None
            self._changed.notify_all()
            return found

    def drop(self, render_id: int) -> None:
        """Takes out whatever belongs to a render."""
        with self._changed:
            for key in [k for k, entry in self._entries.items() if entry.order.render_id == render_id]:
                del self._entries[key]
            self._changed.notify_all()

    def count(self, lane: Lane | None) -> int:
        """Orders of a lane, or all."""
        with self._changed:
            return sum(1 for entry in self._entries.values() if lane is None or entry.order.lane is lane)

    def inside(self) -> list[Order]:
        """Orders that were admitted, oldest first."""
        with self._changed:
            return [e.order for e in self._entries.values() if e.phase is not Phase.WAITING]

    def close(self) -> None:
        """Admits nobody any more and wakes everyone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[Entry]:
        """Takes out all that is left, oldest first."""
        with self._changed:
            entries = list(self._entries.values())
            self._entries.clear()
            return entries
