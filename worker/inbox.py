"""What has been offered to this incarnation and not been claimed yet: hints, by lane.

A hint is a (render id, fence) pair out of a message. Losing one is harmless: the scheduler sends it again.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from latentfarm.messages import CHUNK
from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.messages import Message, Pair


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
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lanes: dict[Lane, deque[Pair]] = {lane: deque() for lane in Lane}
        self._alone: deque[Pair] = deque()
        self.changed = threading.Condition()

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
                if hints and room > 0:
                    return [hints.popleft() for _ in range(min(room, CHUNK, len(hints)))], False
            return [], False

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
        """Whether the bulk queues should be consumed: less than half of what could be held is at hand."""
        with self.changed:
            waiting = len(self._lanes[Lane.BULK]) + len(self._alone)
            return waiting < max(1, self.capacity // 2) and held + waiting < 2 * self.capacity

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
