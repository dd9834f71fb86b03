"""Every so often, what each process and each service of a farm holds: one JSON line for each look.

A look that fails in part (a service is down, a process has just died) has the rest.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.world import World

EVERY_S = 10.0
"""A look takes part of a second itself."""
_DONE = "SELECT count(*) AS n FROM renders WHERE state > 2"
_SESSIONS = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'"
_TABLES = """
    SELECT relname AS name, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes
    FROM pg_stat_user_tables WHERE relname NOT LIKE 'chaos%' AND relname <> 'alembic_version'
"""
_SESSION = "postgres: latentfarm latentfarm "
Sample = dict[str, Any]


class Census(threading.Thread):
    """Looks until stopped. `samples` is complete after `stop`."""

    def __init__(self, world: World, path: Path) -> None:
        super().__init__(name="census", daemon=True)
        self.samples: list[Sample] = []
        self._world = world
        self._path = path
        self._stopping = threading.Event()

    def run(self) -> None:
        """A look every so often; a look takes part of a second."""
        with self._path.open("a", encoding="utf-8") as file:
            while not self._stopping.wait(EVERY_S):
                sample = self.look()
                self.samples.append(sample)
                file.write(json.dumps(sample) + "\n")
                file.flush()

    def stop(self) -> None:
        """Ends the looks."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def look(self) -> Sample:
        """One sample."""
        found: Sample = {
            "store_bytes": self._world.stack.store_bytes(),
            "t": round(time.time(), 1),
            "done": None,
            "processes": list(_processes(self._world)),
        }
        with contextlib.suppress(psycopg.OperationalError):
            found["done"] = self._world.rows(_DONE)[0]["n"]
            found["sql_connections"] = self._world.rows(_SESSIONS)[0]["n"]
            found["sql_files"] = len(list((self._world.folder / "stack/postgres/data").glob("base/*/*")))
            found["tables"] = {row["name"]: self._table(row) for row in self._world.rows(_TABLES)}
        with contextlib.suppress(redis.RedisError), self._world.redis() as client:
            found["redis_keys"] = client.dbsize()
            found["redis_memory"] = client.info("memory")["used_memory"]
            found["redis_connections"] = len(client.client_list())
        return found

    def _table(self, row: dict[str, Any]) -> dict[str, int]:
        # Counted: what PostgreSQL remembers of a table is forgotten when it is stopped at once.
        count = self._world.rows(f"SELECT count(*) AS n FROM {row['name']}")[0]["n"]
        return {"rows": count, "dead": row["dead"], "bytes": row["bytes"]}


def _processes(world: World) -> Iterator[Sample]:
    members = ["redis", "postgres", "s3", *world.environments]
    for member in members:
        pid = world.keeper(member).pid
        if pid is None:
            continue
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            everyone = [process, *process.children(recursive=True)]
            for one in everyone:
                with contextlib.suppress(psutil.Error):
                    yield _process(_role(member, one, is_first=one is process), one)


def _role(member: str, process: psutil.Process, *, is_first: bool) -> str:
    """Processes of one role are alike."""
    if member.startswith("worker"):
        return "worker" if is_first else "child"
    if member == "postgres" and process.cmdline()[0].startswith(_SESSION):
        return "session"
    return member.rstrip("0123456789") if member != "s3" else member


def _process(role: str, process: psutil.Process) -> Sample:
    """`own`: resident without what others may map as well, and without files."""
    with process.oneshot():
        memory = process.memory_info()
        return {
            "role": role,
            "life": f"{process.pid}/{process.create_time():.2f}",
            "rss": memory.rss,
            "own": memory.rss - memory.shared,
            "files": process.num_fds(),
            "threads": process.num_threads(),
        }
