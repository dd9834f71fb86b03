"""One job after the other through a farm, and what its rows say about when things happened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.control_plane import loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    import psycopg

POLL_S = 0.005
LIMIT_S = 60.0

# A row of `attempts` tells how long its message had waited when the statement that claims was done, before its commit.
_CLAIMS = """
    SELECT 1000 * EXTRACT(EPOCH FROM r.sent_at - j.created_at)::float + 1000 * a.waited_s
    FROM jobs j JOIN renders r ON r.job_id = j.id JOIN attempts a ON a.render_id = r.id WHERE j.id = ANY (%s::uuid[])
"""
_STEPS = """
    SELECT (o.notes ->> 'first_step_at')::float - EXTRACT(EPOCH FROM j.created_at)::float
    FROM jobs j JOIN renders r ON r.job_id = j.id JOIN objects o ON o.render_id = r.id AND o.kind = 'image'
    WHERE j.id = ANY (%s::uuid[])
"""


# Each worker reports every two seconds.
_TAKEN = "SELECT sum((info -> 'counters' ->> 'steps')::int) FROM workers WHERE ended_at IS NULL"


@dataclass(slots=True)
class Prober:
    """Hands in one image at a time."""

    client: httpx.Client
    database: psycopg.Connection[Any]

    def submit(self, **fields: Any) -> tuple[str, float]:
        """The id of a job of one image, and the milliseconds until it was accepted."""
        began = time.perf_counter()
        answer = self.client.post("/v1/jobs", json=loading.spec(1, **fields))
        took_ms = 1000 * (time.perf_counter() - began)
        answer.raise_for_status()
        return str(answer.json()["id"]), took_ms

    def wait(self, job: str) -> None:
        """Until the job has ended.

        Raises:
            TimeoutError: after a minute.
        """
        until = time.monotonic() + LIMIT_S
        ended = "SELECT FROM jobs WHERE id = %s AND finished_at IS NOT NULL"
        while self.database.execute(ended, (job,)).fetchone() is None:
            if time.monotonic() > until:
                raise TimeoutError(f"job {job} did not end within {LIMIT_S:g} s")
            time.sleep(POLL_S)

    def claims_ms(self, jobs: Sequence[str]) -> list[float]:
        """From the transaction that stores a job to its claim, by the database's clock."""
        return [float(row[0]) for row in self.database.execute(_CLAIMS, (list(jobs),))]

    def steps(self) -> tuple[float, int]:
        """When the worker has next reported (monotonic seconds), and how many steps its samples had taken by then.

        Raises:
            TimeoutError: it did not within a minute.
        """
        until = time.monotonic() + LIMIT_S
        before = self.database.execute(_TAKEN).fetchone()
        while (
            (taken := self.database.execute(_TAKEN).fetchone()) == before or taken is None or taken[0] is None
        ):
            if time.monotonic() > until:
                raise TimeoutError(f"no worker reported a step for {LIMIT_S:g} s")
            time.sleep(POLL_S)
        return time.monotonic(), int(taken[0])

    def first_steps_s(self, jobs: Sequence[str]) -> list[float]:
        """From the transaction that stores a job to the end of its first step."""
        return [float(row[0]) for row in self.database.execute(_STEPS, (list(jobs),))]
