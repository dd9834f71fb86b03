"""Which worker a fault hits: one that is ready, under no other fault, and busy where any is."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.chaos.world import World

_READY = """
    SELECT w.id, w.pid, count(r.id) AS held FROM workers w LEFT JOIN renders r ON r.owner = w.id AND r.state = 2
    WHERE w.ready AND w.ended_at IS NULL AND w.lease_until > now() GROUP BY w.id, w.pid ORDER BY w.id
"""
BUSY_S = 3.0
"""So long a fault waits for a worker that has renders in flight."""
FREE_S = 30.0
"""So long it waits for any."""


class Skipped(Exception):  # noqa: N818 - an outcome: the fault found nothing to hit
    """The fault could not be injected; the reason is in the report."""


@dataclass(frozen=True, slots=True)
class Target:
    """A worker: its name, its incarnation, and its two processes."""

    name: str
    incarnation: int
    parent: int
    child: int
    held: int

    def everyone(self) -> list[int]:
        """Every process of the worker, the parent last."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.parent).children(recursive=True)
            return [*(int(child.pid) for child in children), self.parent]
        return [self.child, self.parent]


class Roster(ABC):
    """Hands out workers to faults, each to one fault at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    @abstractmethod
    def ready(self) -> list[Target]:
        """Workers that serve."""

    @contextlib.contextmanager
    def take(self, rng: Random) -> Iterator[Target]:
        """A worker for one fault; nobody else's until the block ends.

        Raises:
            Skipped: none became free.
        """
        target = self._wait(rng)
        try:
            yield target
        finally:
            with self._lock:
                self._taken.discard(target.name)

    def _wait(self, rng: Random) -> Target:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < FREE_S:
            with self._lock, contextlib.suppress(psycopg.OperationalError):
                free = [target for target in self.ready() if target.name not in self._taken]
                busy = [target for target in free if target.held]
                choice = busy or (free if waited > BUSY_S else [])
                if choice:
                    target = rng.choice(choice)
                    self._taken.add(target.name)
                    return target
            time.sleep(0.1)
        raise Skipped(f"no worker was free within {FREE_S:.0f} s")


class Workers(Roster):
    """The farm's, as SQL knows them."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def ready(self) -> list[Target]:
        """Those whose child serves."""
        pids = {self._world.keeper(name).pid: name for name in self._names()}
        rows = [row for row in self._world.rows(_READY) if row["pid"] in pids]
        found = [(pids[row["pid"]], row, _child(row["pid"])) for row in rows]
        return [
            Target(name, row["id"], row["pid"], child, row["held"]) for name, row, child in found if child
        ]

    def _names(self) -> list[str]:
        return [f"worker{number}" for number in range(self._world.profile.workers)]


def _child(parent: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(parent).children():
            if "worker.child" in process.cmdline():
                return int(process.pid)
    return None
