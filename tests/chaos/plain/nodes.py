"""The nodes of a plain Celery farm, and Redis; faults hit them as they hit the farm's workers."""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil

from latentfarm.embedded import ports
from latentfarm.embedded.valkey import Valkey
from tests.chaos.place import Place, until
from tests.chaos.roster import BUSY_S, FREE_S, Skipped, Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from tests.chaos.profile import Profile
    from tests.chaos.truth import Truth

CHILDREN = 2
START_S = 120.0


class Nodes(Place):
    """Four nodes with two prefork children each."""

    def __init__(self, folder: Path, profile: Profile, truth: Truth, mode: str) -> None:
        super().__init__(folder, profile, truth)
        self.mode = mode
        self.log = folder / "tasks.log"
        self.busy = folder / "busy"
        self.busy.mkdir()
        data = folder / "redis"
        data.mkdir()
        self._valkey = Valkey(data, folder / "redis.log", ports.choose(()), secrets.token_hex(16))
        self.roster = NodeRoster(self)

    def start(self) -> None:
        """See `Place.start`."""
        self.supervisor.add(self._valkey.program())
        command = (sys.executable, "-m", "celery", "-A", "tests.chaos.plain.tasks:app", "worker")
        options = ("--pool", "prefork", "--concurrency", str(CHILDREN), "--loglevel", "WARNING")
        for name in self.names():
            environment = {**self.variables(), "PLAIN_BROKER": self.through(f"{name}.redis", self.redis_url)}
            self.add(name, (*command, *options, "--hostname", f"{name}@%h"), environment, after=("redis",))
        self.supervisor.wait_ready(timeout=START_S)
        until("all nodes serve", lambda: len(self.roster.ready()) == CHILDREN * len(self.names()), START_S)

    @property
    def redis_url(self) -> str:
        """See `Place.redis_url`."""
        return self._valkey.url

    def names(self) -> list[str]:
        """Of the nodes."""
        return [f"worker{number}" for number in range(self.profile.workers)]

    def variables(self) -> dict[str, str]:
        """What `plain.tasks` reads."""
        return {
            "PLAIN_MODE": self.mode,
            "PLAIN_LOG": str(self.log),
            "PLAIN_BUSY": str(self.busy),
            "PLAIN_BROKER": self.redis_url,
        }

    def has_ended(self, _incarnation: int) -> bool:
        """Nobody keeps account of lives here."""
        return True

    def rows(self, _sql: str, *_values: object) -> list[dict[str, Any]]:
        """There is no SQL."""
        return []


class NodeRoster:
    """Hands out nodes; one with a child at work where there is any."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def ready(self) -> list[Target]:
        """One target per child."""
        found = []
        for name in self._nodes.names():
            parent = self._nodes.keeper(name).pid
            for child in _children(parent):
                held = int((self._nodes.busy / str(child)).exists())
                found.append(Target(name, 0, parent or 0, child, held))
        return found

    @contextlib.contextmanager
    def take(self, rng: Random) -> Iterator[Target]:
        """As `Roster.take`."""
        target = self._wait(rng)
        try:
            yield target
        finally:
            with self._lock:
                self._taken.discard(target.name)

    def _wait(self, rng: Random) -> Target:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < FREE_S:
            with self._lock:
                free = [target for target in self.ready() if target.name not in self._taken]
                choice = [target for target in free if target.held] or (free if waited > BUSY_S else [])
                if choice:
                    target = rng.choice(choice)
                    self._taken.add(target.name)
                    return target
            time.sleep(0.1)
        raise Skipped(f"no node was free within {FREE_S:.0f} s")


def _children(parent: int | None) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(parent).children()] if parent else []
    return []
