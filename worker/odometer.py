"""How many steps each claim has taken here, and when it took its first."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentfarm.messages import Pair
    from worker.engine.order import Errand

KEPT = 4096
"""Many more than a child can hold: claims that were cancelled or superseded are never told of as ended."""


@dataclass(slots=True)
class _Way:
    began: int
    done: int
    first_step_at: float


class Odometer:
    """Counts from where a claim began: what a checkpoint spared it is not counted. Thread-safe."""

    def __init__(self) -> None:
        self._ways: dict[Pair, _Way] = {}
        self._lock = threading.Lock()

    def stepped(self, order: Errand, done: int) -> None:
        """The sample has `done` steps of its stage behind it."""
        with self._lock:
            way = self._ways.setdefault(_pair(order), _Way(done - 1, done, time.time()))
            way.done = done
            while len(self._ways) > KEPT:
                del self._ways[next(iter(self._ways))]

    def taken(self, order: Errand) -> int:
        """Steps that the claim has taken here."""
        with self._lock:
            way = self._ways.get(_pair(order))
            return 0 if way is None else way.done - way.began

    def first_step_at(self, order: Errand) -> float | None:
        """When it took its first step, in seconds since 1970."""
        with self._lock:
            way = self._ways.get(_pair(order))
            return None if way is None else way.first_step_at

    def forget(self, order: Errand) -> None:
        """The claim has ended."""
        with self._lock:
            self._ways.pop(_pair(order), None)


def _pair(order: Errand) -> Pair:
    return order.render_id, order.fence
