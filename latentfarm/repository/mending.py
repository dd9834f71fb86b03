"""Dispatch goes by what a job says of itself; here it is held against the renders, a few jobs at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text

from latentfarm.repository.waiting import SEVERAL

if TYPE_CHECKING:
    from sqlalchemy import Connection

JOBS = 100
"""Jobs of one look."""
START = UUID(int=0)

# Of a release that did not write the model down, or of a job from then that was opened again.
_NAME = text("""
    UPDATE jobs j SET model = s.body ->> 'model' FROM specs s
    WHERE s.id = j.spec_id AND j.id = ANY (ARRAY(
        SELECT id FROM jobs WHERE model = '' AND waits AND paused_at IS NULL LIMIT :jobs FOR UPDATE SKIP LOCKED))
""")

# By every queue, since what is queued is in order of queues; there are few of them.
_FORGOTTEN = text("""
    SELECT j.id, EXISTS (
        SELECT FROM queues q CROSS JOIN LATERAL (
            SELECT FROM renders r WHERE r.queue_id = q.id AND uuid_hash(r.job_id) = uuid_hash(j.id)
              AND (r.job_id = j.id) IS TRUE AND r.state = 0 LIMIT 1) AS r
    ) AS forgotten, model <> :several AND EXISTS (
        SELECT FROM queues q CROSS JOIN LATERAL (
            SELECT FROM renders r WHERE r.queue_id = q.id AND uuid_hash(r.job_id) = uuid_hash(j.id)
              AND (r.job_id = j.id) IS TRUE AND r.state = 0 LIMIT 1) AS r
        WHERE q.model NOT IN ('', j.model)
    ) AS strays
    FROM (SELECT id, model FROM jobs WHERE finished_at IS NULL AND id > :after ORDER BY id LIMIT :jobs) AS j
    ORDER BY j.id
""")

# Renders of several models.
_SEVERAL = text("UPDATE jobs SET model = :several WHERE id = :id")

_LOCK = text("SELECT waits FROM jobs WHERE id = :id AND finished_at IS NULL FOR UPDATE")

# A statement of its own: what was committed while the lock was waited for must be seen.
_COUNT = text("""
    UPDATE jobs SET queued = (
        SELECT count(*) FROM queues q JOIN renders r ON r.queue_id = q.id AND r.state = 0
          AND uuid_hash(r.job_id) = uuid_hash(:id) AND (r.job_id = :id) IS TRUE)
    WHERE id = :id
""")


def name_models(connection: Connection) -> int:
    """Gives jobs the model of their spec where they have none; without, they would never have their turn."""
    return connection.execute(_NAME, {"jobs": JOBS}).rowcount


def count_again(connection: Connection, after: UUID) -> tuple[int, UUID]:
    """Counts the queued renders of jobs that say that they have none, and have; notes jobs of several models.

    Args:
        after: looks at the `JOBS` open jobs that follow.

    Returns:
        (jobs that were wrong, where to go on; `START` after the last one).
    """
    rows = connection.execute(_FORGOTTEN, {"after": after, "jobs": JOBS, "several": SEVERAL}).all()
    wrong = 0
    for row in rows:
        if row.strays:
            connection.execute(_SEVERAL, {"id": row.id, "several": SEVERAL})
            wrong += 1
        if row.forgotten and connection.execute(_LOCK, {"id": row.id}).scalar() is False:
            connection.execute(_COUNT, {"id": row.id})
            wrong += 1
    return wrong, rows[-1].id if len(rows) == JOBS else START
