"""What has been offered to this incarnation and not been claimed yet: hints, by lane.

A hint is a (render id, fence) pair out of a message. Losing one is harmless: the scheduler sends it again.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.messages import Message, Pair

CLAIM = 512
"""Most renders of one claim. As many as there is room for, else: a commit costs the same for one as for many."""
TOGETHER = 4
"""Bulk renders that a worker with enough to do has room for before it claims again: one claim costs a worker, the database and
the scheduler as much as a claim of four, and prompts that come together are read together."""
AHEAD = 3
"""So many looks ahead a fast worker has hints: until the next one, while a BRPOP without the bulk queues ends, and for luck."""
SMOOTH = 4
"""Looks over which the pace is taken: a claim takes many hints at once, and a single look may fall between two."""


def capacity_for(buckets: Iterable[int]) -> int:
    """Bulk renders that a worker holds at once.

    A guided render has two rows, so half as many as a bucket has rows are in a forward. Half as many again are
    ready for the next one, and half as many are on their way out: encoded, put, committed. With fewer, forwards
    would wait for the store.

    Args:
        buckets: rows of a forward, of each model that the worker serves.
    """
    return max([2, *(3 * bucket // 2 for bucket in buckets)])


class Inbox:
    """Hints that wait for room in the engine. Thread-safe.

    Args:
        capacity: renders that may be held at once for the bulk lane. Interactive ones may be held up to
            four times that, so that they never wait behind bulk work.
        changed: notified when a hint comes; that of `Holdings`, so that whoever waits for a hint that finds room
            hears of both.
    """

    def __init__(self, capacity: int, changed: threading.Condition | None = None) -> None:
        self.capacity = capacity
        self._taken = 0
        self._pace = 0.0
        self._lanes: dict[Lane, deque[Pair]] = {lane: deque() for lane in Lane}
        self._alone: deque[Pair] = deque()
        self.changed = changed or threading.Condition()

    def offer(self, message: Message, lane: Lane) -> None:
        """Adds the hints of a message."""
        with self.changed:
            (self._alone if message.alone else self._lanes[lane]).extend(message.renders)
            self.changed.notify_all()

    def take(self, held: int) -> tuple[list[Pair], bool]:
        """What to claim now, given that `held` renders are held.

        A suspect runs alone: while one waits, nothing else is claimed, until all that is held has gone.

        Returns:
            (pairs, whether they are to run alone); no pairs: wait for a change.
        """
        with self.changed:
            if self._alone:
                return ([self._alone.popleft()], True) if held == 0 else ([], True)
            for lane, limit in ((Lane.INTERACTIVE, 4 * self.capacity), (Lane.BULK, self.capacity)):
                hints, room = self._lanes[lane], limit - held
                if hints and room >= (1 if lane is Lane.INTERACTIVE else self._least(len(hints))):
                    count = min(room, CLAIM, len(hints))
                    self._taken += count
                    return [hints.popleft() for _ in range(count)], False
            return [], False

    def _least(self, waiting: int) -> int:
        """Room for which bulk hints are claimed; those that are fewer than usual wait for their own room alone."""
        return min(waiting, max(1, min(TOGETHER, self.capacity // 4)))

    def alone(self) -> list[Pair]:
        """Suspects that wait until nothing is held."""
        with self.changed:
            return list(self._alone)

    def forget(self, stale: set[Pair]) -> None:
        """Drops hints of suspects that somebody else has taken meanwhile."""
        with self.changed:
            self._alone = deque(pair for pair in self._alone if pair not in stale)
            self.changed.notify_all()

    def wants_bulk(self, held: int) -> bool:
        """Whether the bulk queues should be consumed, for whoever asks every so often.

        Less than half of what could be held must be at hand, or than is taken in `AHEAD` calls: hints that
        would wait for long are left to other workers, and one that is fast has enough until they come again.
        """
        with self.changed:
            self._pace += (self._taken - self._pace) / SMOOTH
            self._taken = 0
            return self.is_low() and held < 2 * self.capacity

    def is_low(self) -> bool:
        """Whether fewer bulk hints are left than should be at hand, so that more are wanted of Redis and of the scheduler."""
        with self.changed:
            waiting = len(self._lanes[Lane.BULK]) + len(self._alone)
            return waiting < max(1, self.capacity // 2, AHEAD * self._pace)

    def is_empty(self) -> bool:
        """Whether no hint waits."""
        with self.changed:
            return not self._alone and not any(self._lanes.values())

    def clear(self) -> None:
        """Forgets all hints (the worker drains)."""
        with self.changed:
            self._alone.clear()
            for hints in self._lanes.values():
                hints.clear()
