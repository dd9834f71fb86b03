"""A render that failed on a device is left to another one, while there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.repository.settling import change_queued, lock_jobs
from latentfarm.states import RenderState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    Taken = Row[tuple[object, ...]]

PAUSE_S = 0.5
"""Until a render that was left to others may be dispatched again, give or take half of it: in step with the polls
of workers, the same one would get it each time."""
LONGEST_S = 20.0
"""After so long anybody may have it: the others may be busy for hours."""

# Only the last charged failure counts: a render that failed on two devices may have failed for good.
_UNWELCOME = text("""
    WITH last AS (
        SELECT DISTINCT ON (a.render_id) a.render_id, a.fence, a.worker_id, a.refused_at FROM attempts a
        WHERE a.render_id = ANY (CAST(:ids AS bigint[])) AND a.charged AND NOT a.refunded
        ORDER BY a.render_id, a.fence DESC)
    UPDATE attempts a SET refused_at = coalesce(a.refused_at, now())
    FROM last, workers w, workers me, renders r, queues q
    WHERE a.render_id = last.render_id AND a.fence = last.fence AND w.id = last.worker_id AND me.id = :worker
      AND w.host = me.host AND w.device = me.device AND r.id = last.render_id AND q.id = r.queue_id
      AND coalesce(last.refused_at > now() - make_interval(secs => :longest_s), true)
      AND EXISTS (
        SELECT FROM workers o WHERE o.ended_at IS NULL AND o.lease_until > now() AND o.ready
          AND (o.host, o.device) <> (me.host, me.device)
          AND q.stage = ANY (o.stages) AND q.model = ANY (o.assigned_models))
    RETURNING a.render_id
""")

# The fence rises once more: the message that led here must not lead to a second claim.
_LEAVE = text("""
    UPDATE renders SET state = :queued, fence = fence + 1, starts = starts - 1, owner = NULL,
        due_at = now() + make_interval(secs => :pause_s * (0.5 + random()))
    WHERE id = ANY (CAST(:ids AS bigint[]))
""")


def leave_to_others(connection: Connection, worker: int, rows: Sequence[Taken]) -> list[Taken]:
    """Puts back, of what `worker` has just taken, what its device had a charged failure with.

    Suspects that nobody charged stay: a death must not cost more than the seconds until the next claim.
    Renders without a charged failure cost no statement here.

    Returns:
        What the worker keeps.
    """
    tried = [row.id for row in rows if row.tries]
    if not tried:
        return list(rows)
    values = {"ids": tried, "worker": worker, "longest_s": LONGEST_S}
    left = set(connection.execute(_UNWELCOME, values).scalars())
    if left:
        queued = int(RenderState.QUEUED)
        connection.execute(_LEAVE, {"ids": sorted(left), "queued": queued, "pause_s": PAUSE_S})
        lock_jobs(connection, [row.job_id for row in rows])
        change_queued(connection, [row.job_id for row in rows if row.id in left], +1)
    return [row for row in rows if row.id not in left]
