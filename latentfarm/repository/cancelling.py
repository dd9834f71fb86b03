"""A user takes a job back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_CANCEL, notify
from latentfarm.repository.settling import end_job, settle
from latentfarm.states import LIVE, RenderState

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

# Before the renders are touched, so that whoever ends the job meanwhile ends it as cancelled.
_MARK = text("""
    UPDATE jobs SET cancelled_at = now() WHERE id = :id AND tenant = :tenant AND finished_at IS NULL RETURNING id
""")

_CANCEL = text("""
    WITH locked AS (SELECT id, state FROM renders WHERE job_id = :id AND state = ANY (CAST(:live AS smallint[]))
                    ORDER BY id LIMIT :limit FOR UPDATE)
    UPDATE renders r SET state = :cancelled, fence = r.fence + 1, owner = NULL
    FROM locked WHERE r.id = locked.id
    RETURNING r.id, r.fence, locked.state AS was
""")

_ATTEMPTS = text("""
    UPDATE attempts a SET ended_at = now(), outcome = 'cancelled'
    FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS d(id, fence)
    WHERE a.render_id = d.id AND a.fence = d.fence
""")

_LOWER = text("""
    UPDATE jobs SET queued = GREATEST(0, queued - :n) WHERE id = :id RETURNING kind = 'dataset' AS counts_shards, failed
""")

# Nothing of a dataset is packed any more; what was packed stays.
_END_SHARDS = text("""
    WITH stopped AS (UPDATE datasets SET phase = 'inserted' WHERE id = :id AND phase = 'inserting'),
    ended AS (UPDATE shards SET state = 'cancelled' WHERE dataset_id = :id AND state NOT IN ('sealed', 'failed'))
    UPDATE jobs SET remaining = 0, queued = 0 WHERE id = :id
""")

_INSERTED = text("SELECT inserted FROM datasets WHERE id = :id")

# Datasets, then shards, then jobs: as everywhere.
_LOCK_SET = text("""
    WITH found AS MATERIALIZED (SELECT id FROM datasets WHERE id = :id FOR UPDATE)
    SELECT s.id FROM found JOIN shards s ON s.dataset_id = found.id ORDER BY s.id FOR UPDATE OF s
""")

BATCH = 20_000
"""Renders of one transaction; a dataset may have millions."""


def mark_cancelled(connection: Connection, job_id: UUID, *, tenant: str) -> bool:
    """Writes down that the user wants no more of this job; False when there is nothing to stop.

    A transaction of its own: jobs are locked after renders everywhere, and here the job comes first.
    """
    return connection.execute(_MARK, {"id": job_id, "tenant": tenant}).first() is not None


def cancel_renders(connection: Connection, job_id: UUID, *, limit: int = BATCH) -> int:
    """Ends live renders of a job as cancelled, whoever runs them; returns how many.

    Args:
        limit: at most so many; the sweep goes on with the rest.
    """
    live = [int(state) for state in LIVE]
    before = connection.execute(_INSERTED, {"id": job_id}).scalar()
    values = {"id": job_id, "live": live, "cancelled": int(RenderState.CANCELLED), "limit": limit}
    rows = connection.execute(_CANCEL, values).all()
    running = [row for row in rows if row.was == RenderState.RUNNING]
    if running:
        fences = {"ids": [row.id for row in running], "fences": [row.fence - 1 for row in running]}
        connection.execute(_ATTEMPTS, fences)
    connection.execute(_LOCK_SET, {"id": job_id})
    # Rows that came in meanwhile were not seen; no more come now, and the sweep takes these.
    complete = len(rows) < limit and connection.execute(_INSERTED, {"id": job_id}).scalar() == before
    waiting = sum(row.was == RenderState.QUEUED for row in rows)
    job = connection.execute(_LOWER, {"id": job_id, "n": waiting}).one()
    if job.counts_shards and complete:
        connection.execute(_END_SHARDS, {"id": job_id})
        end_job(connection, job_id, cancelled=True, failed=job.failed)
    elif rows and not job.counts_shards:
        settle(connection, {job_id: (len(rows), 0)})
    if rows:
        notify(connection, CHANNEL_CANCEL, job_id)
    return len(rows)
