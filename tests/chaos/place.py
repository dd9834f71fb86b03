"""What every system under fire has: services and members under a supervisor, links, a truth log."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import psycopg
import redis

from latentfarm.embedded.program import Backoff, Program
from latentfarm.embedded.supervisor import Supervisor
from tests.chaos.proxy import Switchboard

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.embedded.keeper import Keeper
    from tests.chaos.profile import Profile
    from tests.chaos.roster import Roster
    from tests.chaos.truth import Truth

ROOT = Path(__file__).resolve().parents[2]
CLOCK = Path(__file__).resolve().parent / "clock"
RESTART = Backoff(first=0.2, longest=1.0)


class Place:
    """Restarts what dies, as any process manager would, and ends everything in the end."""

    roster: Roster

    def __init__(self, folder: Path, profile: Profile, truth: Truth) -> None:
        self.folder = folder
        self.profile = profile
        self.truth = truth
        self.board = Switchboard()
        self.supervisor = Supervisor()
        self.environments: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        self.board.__enter__()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
        self.board.__exit__()

    def start(self) -> None:
        """Services, then members."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends every process."""
        self.supervisor.stop()

    @property
    def redis_url(self) -> str:
        """Straight to Redis, past every link."""
        raise NotImplementedError

    def has_ended(self, incarnation: int) -> bool:
        """Whether everybody knows that this life of a worker is over."""
        raise NotImplementedError

    def redis(self) -> redis.Redis:
        """A client past every link."""
        return redis.Redis.from_url(self.redis_url, socket_timeout=5)

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """What SQL says, past every link."""
        raise NotImplementedError

    def keeper(self, name: str) -> Keeper:
        """Of a service or a member."""
        return self.supervisor[name]

    def through(self, name: str, url: str) -> str:
        """The same URL, by way of a new link."""
        parts = urlsplit(url)
        assert parts.port is not None
        link = self.board.add(name, "127.0.0.1", parts.port)
        return url.replace(f":{parts.port}", f":{link.port}")

    def add(
        self,
        name: str,
        argv: tuple[str, ...],
        environment: dict[str, str],
        *,
        after: tuple[str, ...] = (),
        ready: Callable[[], bool] | None = None,
    ) -> None:
        """Starts a member; its environment is read anew at each of its starts."""
        self.environments[name] = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(CLOCK),
            **environment,
        }

        def noted() -> None:
            self.truth.write("start", name=name)

        program = Program(
            name=name,
            argv=argv,
            log=self.folder / f"{name}.log",
            env=self.environments[name],
            cwd=ROOT,
            after=after,
            prepare=noted,
            ready=ready,
            stop_grace=5.0,
            backoff=RESTART,
        )
        self.supervisor.add(program)


def until(what: str, condition: Callable[[], object], timeout_s: float, every_s: float = 0.2) -> bool:
    """Waits for a condition; a database that is away counts as no.

    Raises:
        TimeoutError: it did not come.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except psycopg.OperationalError:
            pass
        time.sleep(every_s)
    raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
