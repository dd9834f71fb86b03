"""A user takes a job back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_CANCEL, notify
from latentfarm.repository.settling import settle
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
                    ORDER BY id FOR UPDATE)
    UPDATE renders r SET state = :cancelled, fence = r.fence + 1, owner = NULL
    FROM locked WHERE r.id = locked.id
    RETURNING r.id, r.fence, locked.state AS was
""")

_ATTEMPTS = text("""
    UPDATE attempts a SET ended_at = now(), outcome = 'cancelled'
    FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS d(id, fence)
    WHERE a.render_id = d.id AND a.fence = d.fence
""")

_ZERO = text("UPDATE jobs SET queued = 0 WHERE id = :id")


def mark_cancelled(connection: Connection, job_id: UUID, *, tenant: str) -> bool:
    """Writes down that the user wants no more of this job; False when there is nothing to stop.

    A transaction of its own: jobs are locked after renders everywhere, and here the job comes first.
    """
    return connection.execute(_MARK, {"id": job_id, "tenant": tenant}).first() is not None


def cancel_renders(connection: Connection, job_id: UUID) -> int:
    """Ends every live render of a job as cancelled, whoever runs it; returns how many."""
    live = [int(state) for state in LIVE]
    rows = connection.execute(
        _CANCEL, {"id": job_id, "live": live, "cancelled": int(RenderState.CANCELLED)}
    ).all()
    running = [row for row in rows if row.was == RenderState.RUNNING]
    if running:
        values = {"ids": [row.id for row in running], "fences": [row.fence - 1 for row in running]}
        connection.execute(_ATTEMPTS, values)
    if rows:
        connection.execute(_ZERO, {"id": job_id})
        settle(connection, {job_id: (len(rows), 0)})
        notify(connection, CHANNEL_CANCEL, job_id)
    return len(rows)
