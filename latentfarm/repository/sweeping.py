"""What the scheduler puts right from time to time. Each sweep is harmless when two run it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from latentfarm.repository.cancelling import cancel_renders
from latentfarm.repository.settling import end_job

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.repository.sources import StoredObject

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(4712, :duty)")

# The age counts from the end of the attempt: an upload that was under way then must have ended too,
# or it would leave an object that no row tells of.
_ABANDONED = text("""
    WITH found AS (
        SELECT o.render_id, o.fence FROM objects o JOIN renders r ON r.id = o.render_id
        LEFT JOIN attempts a ON a.render_id = o.render_id AND a.fence = o.fence
        WHERE o.state = 'planned' AND o.created_at < now() - make_interval(secs => :after_s)
          AND coalesce(a.ended_at, o.created_at) < now() - make_interval(secs => :after_s)
          AND NOT (r.state = 2 AND r.fence = o.fence)
        ORDER BY o.created_at LIMIT :limit FOR UPDATE OF o SKIP LOCKED)
    UPDATE objects o SET state = 'going' FROM found f WHERE o.render_id = f.render_id AND o.fence = f.fence
""")

_GOING = text("""
    SELECT render_id, fence, key FROM objects WHERE state = 'going'
    ORDER BY render_id, fence LIMIT :limit FOR UPDATE SKIP LOCKED
""")

# A function of the database, which workers may call; they may delete no row otherwise.
_FORGET = text("SELECT forget_objects(CAST(:ids AS bigint[]), CAST(:fences AS int[]))")

_CANCELLED_OPEN = text("""
    SELECT id FROM jobs WHERE finished_at IS NULL AND cancelled_at < now() - interval '2 s' ORDER BY id LIMIT 100
""")

_SETTLED_OPEN = text("""
    SELECT j.id, j.failed, j.cancelled_at IS NOT NULL AS cancelled FROM jobs j
    WHERE j.finished_at IS NULL AND j.created_at < now() - interval '10 s' AND j.id > :after
      AND NOT EXISTS (SELECT FROM renders r WHERE r.job_id = j.id AND r.state < 3)
      AND NOT EXISTS (SELECT FROM shards s WHERE s.dataset_id = j.id AND s.state IN ('open', 'full'))
    ORDER BY j.id LIMIT 100
""")

_RECOUNT = text("""
    SELECT j.id FROM jobs j WHERE j.id = :id AND j.finished_at IS NULL FOR UPDATE
""")

_OLD_KEYS = text("DELETE FROM idempotency WHERE created_at < now() - interval '48 h'")

_OLD_EVENTS = text("DELETE FROM outbox_default WHERE created_at < :oldest")

_PARTITIONS = text("""
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'outbox'::regclass
""")


def try_duty(connection: Connection, duty: int) -> bool:
    """Takes a duty for this transaction; False when another scheduler is at it."""
    return bool(connection.execute(_TRY_LOCK, {"duty": duty}).scalar_one())


def retire_abandoned(connection: Connection, *, after_s: float, limit: int) -> int:
    """Marks planned objects that can never become visible as going; returns how many."""
    return connection.execute(_ABANDONED, {"after_s": after_s, "limit": limit}).rowcount


def going_objects(connection: Connection, *, limit: int) -> list[StoredObject]:
    """What is marked, and by a transaction that was committed, so that nobody can use it any more."""
    return [tuple(row) for row in connection.execute(_GOING, {"limit": limit})]


def forget_objects(connection: Connection, found: list[StoredObject]) -> None:
    """Deletes the rows of objects that are no longer in the bucket."""
    values = {"ids": [item[0] for item in found], "fences": [item[1] for item in found]}
    connection.execute(_FORGET, values)


def half_cancelled(connection: Connection) -> int:
    """Finishes cancels whose API process died between its two commits; returns how many renders."""
    jobs = connection.execute(_CANCELLED_OPEN).scalars().all()
    return sum(cancel_renders(connection, job) for job in jobs)


def end_settled(connection: Connection, after: UUID) -> list[UUID]:
    """Ends jobs whose renders are all final, should a counter ever be wrong; looks at 100 from `after` on."""
    rows = connection.execute(_SETTLED_OPEN, {"after": after}).all()
    ended = []
    for row in rows:
        if connection.execute(_RECOUNT, {"id": row.id}).first() is None:
            continue
        if end_job(connection, row.id, cancelled=row.cancelled, failed=row.failed):
            ended.append(row.id)
    return ended


def forget_keys(connection: Connection) -> None:
    """Drops Idempotency-Keys after 48 hours."""
    connection.execute(_OLD_KEYS)


def rotate_outbox(connection: Connection, *, keep_days: int) -> None:
    """Makes the partitions of today and the two days to come, drops what is older than `keep_days`."""
    today = datetime.now(UTC).date()
    for ahead in range(3):
        _make_partition(connection, today + timedelta(days=ahead))
    oldest = today - timedelta(days=keep_days)
    for name in connection.execute(_PARTITIONS).scalars().all():
        if name < f"outbox_{oldest:%Y%m%d}" and name != "outbox_default":
            connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    connection.execute(_OLD_EVENTS, {"oldest": datetime.combine(oldest, time.min, UTC)})


def _make_partition(connection: Connection, day: date) -> None:
    statement = text(
        f"CREATE TABLE IF NOT EXISTS outbox_{day:%Y%m%d} PARTITION OF outbox"
        f" FOR VALUES FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')"
    )
    # Events of a day that began without a scheduler lie in the default partition, and stay there.
    with suppress(IntegrityError), connection.begin_nested():
        connection.execute(statement)
