"""The counters of a job, and its exact end.

Whoever makes renders final lowers `remaining` in the same transaction, once per job, with the jobs
locked in id order. Whoever reaches 0 sets the final state and writes the one event that says so.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_EVENTS, notify
from latentfarm.repository import outgoing
from latentfarm.repository.outgoing import HEARD
from latentfarm.states import JobState, Lane, final_job_state
from latentfarm.webhooks.told import STARTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection

_LOWER = text("""
    WITH d AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:ended AS int[]), CAST(:failed AS int[]))
               AS d(id, ended, failed)),
    locked AS (SELECT j.id FROM jobs j JOIN d ON d.id = j.id ORDER BY j.id FOR UPDATE OF j)
    UPDATE jobs j SET remaining = j.remaining - d.ended, failed = j.failed + d.failed
    FROM d, locked WHERE j.id = d.id AND j.id = locked.id
    RETURNING j.id, j.remaining, j.failed, j.cancelled_at IS NOT NULL AS cancelled, j.finished_at IS NULL AS open
""")

_END = text(f"""
    UPDATE jobs SET state = :state, finished_at = now() WHERE id = :id AND finished_at IS NULL RETURNING {HEARD}
""")  # noqa: S608 - no input in it

_QUEUED = text("""
    WITH d AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:counts AS int[])) AS d(id, n)),
    locked AS (SELECT j.id FROM jobs j JOIN d ON d.id = j.id ORDER BY j.id FOR UPDATE OF j)
    UPDATE jobs j SET queued = j.queued + d.n FROM d, locked WHERE j.id = d.id AND j.id = locked.id
""")

_LOCK = text("SELECT id, lane FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE")

_EVENT = text("INSERT INTO outbox (job_id, type, data) VALUES (:job_id, :type, CAST(:data AS jsonb))")


def settle(connection: Connection, ended: Mapping[UUID, tuple[int, int]]) -> list[UUID]:
    """Lowers `remaining` and ends the jobs that reach 0.

    Args:
        ended: job id -> (renders that became final, failed ones among them).

    Returns:
        The jobs that this call ended.
    """
    if not ended:
        return []
    ids = sorted(ended)
    rows = connection.execute(
        _LOWER,
        {"ids": ids, "ended": [ended[job][0] for job in ids], "failed": [ended[job][1] for job in ids]},
    ).all()
    done = [row for row in rows if row.remaining == 0 and row.open]
    return [row.id for row in done if end_job(connection, row.id, cancelled=row.cancelled, failed=row.failed)]


def end_job(connection: Connection, job_id: UUID, *, cancelled: bool, failed: int) -> bool:
    """Sets a job's final state and writes its last event; False when it had ended before."""
    state = final_job_state(cancelled=cancelled, failed=failed)
    event = f"job.{state.value}"
    ended = connection.execute(_END, {"id": job_id, "state": state.value, "event": event}).first()
    if ended is None:
        return False
    add_event(connection, job_id, event, {"state": state.value, "failed": failed})
    if ended.heard:
        outgoing.write(connection, job_id, event)
    return True


def lock_jobs(connection: Connection, jobs: Iterable[UUID]) -> dict[UUID, Lane]:
    """Locks jobs in id order, and tells their lanes. Needed before `add_event`."""
    rows = connection.execute(_LOCK, {"ids": sorted(set(jobs))})
    return {row.id: Lane(row.lane) for row in rows}


def add_event(connection: Connection, job_id: UUID, kind: str, data: dict[str, Any]) -> None:
    """Writes an outbox row, and tells listeners when the transaction commits.

    The transaction must have locked the job: then the ids of a job's events rise in the order of the
    commits, and whoever reads on from the last id that it has seen misses none.
    """
    connection.execute(_EVENT, {"job_id": job_id, "type": kind, "data": json.dumps(data)})
    notify(connection, CHANNEL_EVENTS, job_id)


def change_queued(connection: Connection, jobs: Iterable[UUID], by: int) -> None:
    """Changes `jobs.queued` by `by` for every render whose job is listed."""
    counts = Counter(jobs)
    if counts:
        ids = sorted(counts)
        connection.execute(_QUEUED, {"ids": ids, "counts": [by * counts[job] for job in ids]})


def mark_started(connection: Connection, jobs: Iterable[UUID]) -> None:
    """Moves queued jobs to running, at the first claim of one of their renders."""
    jobs = set(jobs)
    if not jobs:
        return
    for job_id, heard in connection.execute(_START, {"ids": sorted(jobs), "event": STARTED}).all():
        add_event(connection, job_id, STARTED, {"state": JobState.RUNNING.value})
        if heard:
            outgoing.write(connection, job_id, STARTED)


_START = text(f"""
    WITH locked AS (SELECT id FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'queued'
                    ORDER BY id FOR UPDATE)
    UPDATE jobs SET state = 'running', started_at = now() FROM locked
    WHERE jobs.id = locked.id AND jobs.state = 'queued' RETURNING jobs.id, {HEARD}
""")  # noqa: S608 - no input in it
