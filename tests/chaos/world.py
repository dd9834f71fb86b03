"""A whole farm to be broken: real services, real processes, and a link of its own from each to each service."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
from psycopg.rows import dict_row
from sqlalchemy import create_engine

from latentfarm.embedded.farm import for_workers
from tests.chaos import trace
from tests.chaos.engine import FOLDER
from tests.chaos.place import ROOT, Place, until
from tests.chaos.roster import Workers
from tests.chaos.store import TellingStack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.profile import Profile
    from tests.chaos.truth import Truth

SERVICES = {
    "redis": "LATENTFARM_REDIS_URL",
    "postgres": "LATENTFARM_DATABASE_URL",
    "s3": "LATENTFARM_S3_ENDPOINT_URL",
}
START_S = 300.0
"""So long a farm may take to come up on a machine that is busy with other things."""


class World(Place):
    """API, schedulers, workers and the three services."""

    def __init__(self, folder: Path, profile: Profile, truth: Truth) -> None:
        super().__init__(folder, profile, truth)
        self.steps = folder / "steps"
        self.steps.mkdir()
        self.stack = TellingStack(folder / "stack", self.supervisor)
        self.roster = Workers(self)
        self._sql: psycopg.Connection[dict[str, Any]] | None = None
        self._sql_lock = threading.Lock()
        self.api_port = self.stack.ports.draw()
        self.api_url = f"http://127.0.0.1:{self.api_port}"

    def start(self) -> None:
        """See `Place.start`."""
        self.stack.start()
        self._migrate()
        self._member("api", "api")
        for number in range(self.profile.schedulers):
            self._member(f"scheduler{number}", "scheduler")
        for number in range(self.profile.workers):
            self._member(f"worker{number}", "worker", "--devices", f"cpu:{number}")
        self.supervisor.wait_ready(timeout=START_S)
        until("all workers are ready", lambda: len(self.roster.ready()) == self.profile.workers, START_S)

    def stop(self) -> None:
        """See `Place.stop`."""
        with self._sql_lock:
            self._hang_up()
        self.stack.stop()

    @property
    def variables(self) -> dict[str, str]:
        """The settings that lead straight to the services, past every link."""
        return self.stack.environment()

    @property
    def redis_url(self) -> str:
        """See `Place.redis_url`."""
        return self.variables["LATENTFARM_REDIS_URL"]

    def has_ended(self, incarnation: int) -> bool:
        """See `Place.has_ended`."""
        return bool(self.rows("SELECT 1 FROM workers WHERE id = %s AND ended_at IS NOT NULL", incarnation))

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """See `Place.rows`."""
        url = self.variables["LATENTFARM_DATABASE_URL"].replace("+psycopg", "")
        with self._sql_lock:
            try:
                if self._sql is None:
                    self._sql = psycopg.connect(url, row_factory=dict_row, connect_timeout=3, autocommit=True)
                return self._sql.execute(sql, values or None).fetchall()
            except psycopg.OperationalError:
                self._hang_up()
                raise

    def _hang_up(self) -> None:
        if self._sql is not None:
            self._sql.close()
            self._sql = None

    def _migrate(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={**os.environ, **self.variables},
            check=True,
            capture_output=True,
        )
        engine = create_engine(self.variables["LATENTFARM_DATABASE_URL"])
        with engine.begin() as connection:
            trace.install(connection)
        engine.dispose()

    def _member(self, name: str, *command: str) -> None:
        own = for_workers(self.variables) if command[0] == "worker" else self.variables
        environment = {
            **own,
            "LATENTFARM_ENGINE": "tests.chaos.engine:load",
            "LATENTFARM_MODELS": "tiny",
            "LATENTFARM_LOG_JSON": "true",
            "LATENTFARM_API_PORT": str(self.api_port),
            "LATENTFARM_COLLECT_AFTER_S": str(self.profile.collect_after_s),
            FOLDER: str(self.steps),
            **self.profile.environment,
        }
        for service, variable in SERVICES.items():
            environment[variable] = self.through(f"{name}.{service}", environment[variable])
        self.add(
            name,
            (sys.executable, "-m", *command),
            environment,
            after=("postgres", "redis", "s3"),
            ready=self._api_answers if name == "api" else None,
        )

    def _api_answers(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError as error:
            raise ConnectionError(str(error)) from error
