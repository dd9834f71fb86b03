"""A farm at one depth of its backlog: rates, waits and memory."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from psycopg.errors import DeadlockDetected

from benchmarks.control_plane import rows
from benchmarks.measuring.turns import quantile
from worker.watch import CHECK_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg
    from redis import Redis

    from benchmarks.control_plane.probing import Prober
    from latentfarm.repository.facade import Repository

MIB = 2**20
TRIES = 5
PAUSE_S = 0.02
PORTION = 250
"""Renders of each job that takes the place of what was worked off."""
_QUEUED = "SELECT count(*) FROM renders WHERE state = 0"
_ENDED = "SELECT count(*) FROM attempts WHERE ended_at > now() - make_interval(secs => %s)"
_SINCE = "SELECT count(*) FROM attempts WHERE started_at > %s AND ended_at IS NOT NULL"
# From the transaction of the claim to just before its commit, for each claim of the last seconds.
_CLAIMS = """
    SELECT max(1000 * (r.waited_s - EXTRACT(EPOCH FROM r.started_at - s.sent_at)::float)) FROM attempts r
    JOIN renders s ON s.id = r.render_id WHERE r.started_at > now() - make_interval(secs => %s) AND s.sent_at IS NOT NULL
    GROUP BY r.started_at
"""


@dataclass(slots=True)
class Depth:
    """What was found with so many renders queued."""

    count: int
    renders_s: float = 0.0
    submit_p99_ms: float = 0.0
    claim_p99_ms: float = 0.0
    redis_mib: float = 0.0
    messages: int = 0
    rss_mib: dict[str, float] = field(default_factory=dict)
    submits: int = 0
    claim_p50_ms: float = 0.0
    claims: int = 0


@dataclass(slots=True)
class Keeper:
    """Keeps a backlog at its depth while the farm works on it."""

    repository: Repository
    database: psycopg.Connection[Any]
    redis: Redis
    prober: Prober
    pids: Mapping[str, int]
    seconds: float

    def measure(self, count: int) -> Depth:
        """Fills up, lets the farm run for a while, and then looks for `seconds`."""
        self._fill(count)
        # As autovacuum does within its minute once a tenth of a table is new; and what was filled in is on the disk
        # before anything is measured: a checkpoint that a million new rows brought about is no cost of rows that wait.
        self.database.execute("VACUUM ANALYZE renders")
        self.database.execute("CHECKPOINT")
        self._run(min(4.0, self.seconds))
        submits_ms = self._run(self.seconds)
        claims_ms = [float(row[0]) for row in self.database.execute(_CLAIMS, (self.seconds,))]
        memory: Any = self.redis.info("memory")
        return Depth(
            count,
            renders_s=self._count(_ENDED, self.seconds) / self.seconds,
            submit_p99_ms=quantile(submits_ms, 0.99),
            submits=len(submits_ms),
            claim_p50_ms=quantile(claims_ms, 0.5),
            claim_p99_ms=quantile(claims_ms, 0.99),
            claims=len(claims_ms),
            redis_mib=memory["used_memory"] / MIB,
            messages=sum(int(self.redis.llen(name)) for name in self.redis.scan_iter("base.*")),
            rss_mib={name: _rss(pid) / MIB for name, pid in self.pids.items() if _is_ours(name)},
        )

    def stop(self) -> None:
        """Takes all jobs away. What the worker still holds of them it drops at its next look."""
        for _ in range(TRIES):
            # Whoever writes just then may have locked these tables in another order.
            with contextlib.suppress(DeadlockDetected):
                rows.empty(self.database)
                break
        time.sleep(2 * CHECK_S)

    def _run(self, seconds: float) -> list[float]:
        """Milliseconds that submits of one image took meanwhile. What is worked off is replaced, at every depth alike."""
        began = self.database.execute("SELECT now()").fetchone()
        until, submits_ms, fed = time.monotonic() + seconds, [], 0
        while time.monotonic() < until:
            submits_ms.append(self.prober.submit()[1])
            if self._count(_SINCE, *(began or ())) - fed >= PORTION:
                rows.fill(self.repository, PORTION)
                fed += PORTION
            time.sleep(PAUSE_S)
        return submits_ms

    def _fill(self, count: int) -> None:
        missing = count - self._count(_QUEUED)
        if missing > 0:
            rows.fill(self.repository, missing)

    def _count(self, statement: Any, *values: Any) -> int:
        row = self.database.execute(statement, values).fetchone()
        return int(row[0]) if row else 0


def _is_ours(name: str) -> bool:
    return name in {"api", "scheduler"} or name.startswith("worker")


def _rss(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(int(one.memory_info().rss) for one in [process, *process.children(recursive=True)])
