"""A whole farm under one supervisor: the services, the migration, then API, scheduler and workers."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from latentfarm.embedded import ports
from latentfarm.embedded.errors import StackError
from latentfarm.embedded.program import Program
from latentfarm.states import Stage, parse_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from latentfarm.embedded.stack import Stack

ROOMS = ("api", "scheduler", "worker", "migrations")
SERVICES = ("postgres", "redis", "s3")
ENVIRONMENT = "farm.env"
"""File in the stack's folder with all the settings; `latentfarm doctor` reads it."""


SEAL = Stage.SEAL.label
OWN = ("LATENTFARM_DATABASE_URL", "LATENTFARM_S3_ACCESS_KEY_ID", "LATENTFARM_S3_SECRET_ACCESS_KEY")
"""Settings that a worker has other values of."""


class Farm:
    """API, scheduler and workers on a started stack.

    Args:
        root: the checkout that holds the rooms.
        port: where the API should listen; another one is taken when it is 0 or not free.
        workers: stages of each worker process, such as `["base", "refine"]`; one that packs shards is added where
            none is named.
        devices: as `python -m worker --devices` takes them.
    """

    def __init__(self, stack: Stack, root: Path, *, port: int, workers: Sequence[str], devices: str) -> None:
        missing = [room for room in ROOMS if not (root / room / "__init__.py").is_file()]
        if missing:
            raise StackError(f"a farm starts from a checkout; {root} has no folder {', '.join(missing)}")
        self._stack = stack
        self._root = root
        self._workers = (*workers, *([] if SEAL in workers else [SEAL]))
        self._devices = devices
        self._started = 0.0
        self.port = port if port and stack.ports.take(port) else stack.ports.draw()
        self.url = f"http://{ports.HOST}:{self.port}"

    def environment(self) -> dict[str, str]:
        """The settings of this farm's services, the same variables as in production."""
        api = {"LATENTFARM_API_HOST": ports.HOST, "LATENTFARM_API_PORT": str(self.port)}
        return {**self._stack.environment(), **api, "LATENTFARM_API_URL": self.url}

    def start(self, timeout_s: float = 900.0) -> None:
        """Starts all of it; returns when the API answers and every worker is warm.

        Raises:
            StartError: a part gave up; its log, in the stack's folder, tells why.
        """
        self._started = time.time()
        self._write_environment()
        env = {**os.environ, **self.environment()}
        own = for_workers(env)
        workers = [self._worker(index, stages, own) for index, stages in enumerate(self._workers)]
        self._stack.supervisor.add(
            self._program("migrate", env, "alembic", "upgrade", "head", after=SERVICES, once=True),
            self._program("scheduler", env, "scheduler", after=("migrate",)),
            self._program("api", env, "api", after=("migrate",), ready=self._api_answers),
            *workers,
        )
        self._stack.supervisor.wait_ready(timeout=timeout_s)

    def _program(
        self,
        name: str,
        env: dict[str, str],
        *arguments: str,
        after: tuple[str, ...],
        once: bool = False,
        ready: Callable[[], bool] | None = None,
        start_timeout: float = 60.0,
    ) -> Program:
        return Program(
            name=name,
            argv=(sys.executable, "-m", *arguments),
            log=self._stack.folder.log(name),
            env=env,
            cwd=self._root,
            after=after,
            once=once,
            ready=ready,
            start_timeout=start_timeout,
            stop_grace=30.0,
        )

    def _worker(self, index: int, stages: str, env: dict[str, str]) -> Program:
        name = f"worker{index}-{stages.replace(',', '+')}"
        return self._program(
            name,
            env,
            *("worker", "--stages", stages, *([] if stages == SEAL else ["--devices", self._devices])),
            after=("migrate",),
            ready=lambda: self._worker_is_warm(stages),
            start_timeout=900.0,
        )

    def _api_answers(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _worker_is_warm(self, stages: str) -> bool:
        """Incarnations with these stages have registered since the start, and all of them are ready."""
        import psycopg

        url = self._stack.environment()["LATENTFARM_DATABASE_URL"].replace("+psycopg", "", 1)
        query = (
            "SELECT bool_and(ready) FROM workers WHERE ended_at IS NULL AND lease_until > now()"
            " AND stages = %s AND created_at > to_timestamp(%s)"
        )
        numbers = [int(stage) for stage in parse_stages(stages)]
        with psycopg.connect(url, connect_timeout=5) as connection:
            found = connection.execute(query, (numbers, self._started)).fetchone()
        return bool(found and found[0])

    def _write_environment(self) -> None:
        """For other shells: `set -a; . .latentfarm/farm.env`. Holds secrets, so only the owner reads it."""
        path = self._stack.folder.path / ENVIRONMENT
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}='{value}'\n" for name, value in self.environment().items())


def for_workers(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of a worker: what leads everybody else into the database and the bucket is not among them."""
    own = dict(environment)
    for name in OWN:
        worker = own.pop(name.replace("LATENTFARM_", "LATENTFARM_WORKER_", 1), None)
        if worker is not None:
            own[name] = worker
    return own
