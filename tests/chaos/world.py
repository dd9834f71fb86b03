"""A whole farm to be broken: real services, real processes, and a link of its own from each to each service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg.rows import dict_row
from sqlalchemy import create_engine

from latentfarm.embedded.program import Backoff, Program
from latentfarm.embedded.stack import Stack
from tests.chaos import trace
from tests.chaos.engine import FOLDER
from tests.chaos.proxy import Switchboard
from tests.chaos.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.embedded.keeper import Keeper
    from tests.chaos.link import Link
    from tests.chaos.profile import Profile
    from tests.chaos.truth import Truth

ROOT = Path(__file__).resolve().parents[2]
CLOCK = Path(__file__).resolve().parent / "clock"
SERVICES = {
    "redis": "LATENTFARM_REDIS_URL",
    "postgres": "LATENTFARM_DATABASE_URL",
    "s3": "LATENTFARM_S3_ENDPOINT_URL",
}
RESTART = Backoff(first=0.2, longest=1.0)


class World:
    """Starts everything, restarts what dies as any process manager would, and ends everything."""

    def __init__(self, folder: Path, profile: Profile, truth: Truth) -> None:
        self.folder = folder
        self.profile = profile
        self.truth = truth
        self.steps = folder / "steps"
        self.steps.mkdir()
        self.stack = Stack(folder / "stack")
        self.board = Switchboard()
        self.roster = Roster(self)
        self.environments: dict[str, dict[str, str]] = {}
        self.api_url = ""

    def __enter__(self) -> Self:
        self.board.__enter__()
        try:
            self.stack.start()
            self._migrate()
            self._start_members()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stack.stop()
        self.board.__exit__()

    @property
    def variables(self) -> dict[str, str]:
        """The settings that lead straight to the services, past every link."""
        return self.stack.environment()

    def keeper(self, name: str) -> Keeper:
        """Of a service or a member."""
        return self.stack.supervisor[name]

    def redis(self) -> redis.Redis:
        """A client past every link."""
        return redis.Redis.from_url(self.variables["LATENTFARM_REDIS_URL"], socket_timeout=5)

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """What SQL says, past every link."""
        url = self.variables["LATENTFARM_DATABASE_URL"].replace("+psycopg", "")
        with psycopg.connect(url, row_factory=dict_row, connect_timeout=3) as connection:
            return connection.execute(sql, values or None).fetchall()  # type: ignore[arg-type]  # our own text

    def _migrate(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={**os.environ, **self.variables},
            check=True,
        )
        engine = create_engine(self.variables["LATENTFARM_DATABASE_URL"])
        with engine.begin() as connection:
            trace.install(connection)
        engine.dispose()

    def _start_members(self) -> None:
        self._add("api", ("api",), ready=self._api_answers)
        for number in range(self.profile.schedulers):
            self._add(f"scheduler{number}", ("scheduler",))
        for number in range(self.profile.workers):
            self._add(f"worker{number}", ("worker", "--devices", "cpu"))
        self.stack.supervisor.wait_ready(timeout=120)
        until("all workers are ready", lambda: len(self.roster.ready()) == self.profile.workers, 120)

    def _add(self, name: str, command: tuple[str, ...], ready: Callable[[], bool] | None = None) -> None:
        environment = self.environments[name] = self._environment(name)

        def noted() -> None:
            self.truth.write("start", name=name)

        program = Program(
            name=name,
            argv=(sys.executable, "-m", *command),
            log=self.folder / f"{name}.log",
            env=environment,
            cwd=ROOT,
            after=("postgres", "redis", "s3"),
            prepare=noted,
            ready=ready,
            stop_grace=5.0,
            backoff=RESTART,
        )
        self.stack.supervisor.add(program)

    def _environment(self, name: str) -> dict[str, str]:
        environment = {
            **os.environ,
            **self.variables,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(CLOCK),
            "LATENTFARM_ENGINE": "tests.chaos.engine:load",
            "LATENTFARM_MODELS": "tiny",
            "LATENTFARM_LOG_JSON": "true",
            "LATENTFARM_COLLECT_AFTER_S": str(self.profile.collect_after_s),
            FOLDER: str(self.steps),
            **self.profile.variables,
        }
        for service, variable in SERVICES.items():
            environment[variable] = self._through(f"{name}.{service}", self.variables[variable])
        if name == "api":
            from tests.acceptance.farm import free_port

            environment["LATENTFARM_API_PORT"] = str(free_port())
            self.api_url = f"http://127.0.0.1:{environment['LATENTFARM_API_PORT']}"
        return environment

    def _through(self, name: str, url: str) -> str:
        """The same URL, by way of a new link."""
        parts = urlsplit(url)
        assert parts.port is not None
        link: Link = self.board.add(name, "127.0.0.1", parts.port)
        return url.replace(f":{parts.port}", f":{link.port}")

    def _api_answers(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.api_url}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError as error:
            raise ConnectionError(str(error)) from error


def until(what: str, condition: Callable[[], object], timeout_s: float, every_s: float = 0.1) -> bool:
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
