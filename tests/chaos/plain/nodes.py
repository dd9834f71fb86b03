"""The nodes of a plain Celery farm, and Redis; faults hit them as they hit the farm's workers."""

from __future__ import annotations

import contextlib
import secrets
import sys
from typing import TYPE_CHECKING, Any

import psutil

from latentfarm.embedded.ports import Ports
from latentfarm.embedded.valkey import Valkey
from tests.chaos.place import Place, until
from tests.chaos.roster import Roster, Target

if TYPE_CHECKING:
    from pathlib import Path

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
        self._ports = Ports()
        self._valkey = Valkey(data, folder / "redis.log", self._ports.draw(), secrets.token_hex(16))
        self.roster = Processes(self)

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

    def stop(self) -> None:
        """See `Place.stop`."""
        super().stop()
        self._ports.close()

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


class Processes(Roster):
    """The children of the nodes; one that is at work has left a file that says so."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__()
        self._nodes = nodes

    def ready(self) -> list[Target]:
        """One target per child."""
        found = []
        for name in self._nodes.names():
            parent = self._nodes.keeper(name).pid
            for child in _children(parent):
                held = int((self._nodes.busy / str(child)).exists())
                found.append(Target(name, 0, parent or 0, child, held))
        return found


def _children(parent: int | None) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(parent).children()] if parent else []
    return []
