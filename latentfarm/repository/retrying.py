"""Failed renders of a dataset are tried again: each shard that misses some gets a further part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.errors import Conflict, Ended
from latentfarm.repository.leftovers import touch
from latentfarm.repository.sharding import TOP, queue_seals
from latentfarm.retention import told
from latentfarm.states import RenderState, Stage

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

_FAILED = text("""
    SELECT r.id, r.shard_id FROM renders r
    WHERE r.job_id = :id AND r.ordinal >= 0 AND r.state = :failed ORDER BY r.id FOR UPDATE
""")

_LOCK_SHARDS = text("SELECT id, number, state FROM shards WHERE dataset_id = :id ORDER BY id FOR UPDATE")

_LOCK_JOB = text(
    "SELECT results_gone_at, retain_days FROM jobs WHERE id = :id AND cancelled_at IS NULL FOR UPDATE"
)

# While a shard is open its renders simply come back to it; what is packed is never packed again.
_BACK = text("""
    WITH lost AS (SELECT r.shard_id, count(*) AS n FROM renders r WHERE r.id = ANY (CAST(:ids AS bigint[]))
                  GROUP BY r.shard_id)
    UPDATE shards s SET failed = s.failed - l.n,
        remaining = s.remaining + CASE WHEN s.state = 'open' THEN l.n ELSE 0 END,
        count = s.count - CASE WHEN s.state = 'open' THEN 0 ELSE l.n END
    FROM lost l WHERE s.id = l.shard_id
""")

_SUPPLEMENTS = text("""
    WITH lost AS (
        SELECT s.number, count(*) AS n FROM renders r JOIN shards s ON s.id = r.shard_id
        WHERE r.id = ANY (CAST(:ids AS bigint[])) AND s.state <> 'open' GROUP BY s.number)
    INSERT INTO shards (dataset_id, number, part, first, count, remaining, state)
    SELECT CAST(:id AS uuid), l.number, 1 + (SELECT max(part) FROM shards WHERE dataset_id = :id AND number = l.number),
           (SELECT min(first) FROM shards WHERE dataset_id = :id AND number = l.number), l.n, l.n, 'open'
    FROM lost l ORDER BY l.number RETURNING id, number
""")

_MOVE = text("""
    UPDATE renders r SET shard_id = new.id FROM shards s, shards new
    WHERE r.id = ANY (CAST(:ids AS bigint[])) AND s.id = r.shard_id AND s.state <> 'open'
      AND new.id = ANY (CAST(:new AS bigint[])) AND new.number = s.number
""")

_AGAIN = text("""
    UPDATE renders SET state = :queued, stage = :base, fence = fence + 1, tries = 0, starts = 0, sends = 0,
        suspect = false, owner = NULL, due_at = now(), queue_id = (
            SELECT b.id FROM queues q JOIN queues b ON b.model = q.model AND b.lane = q.lane AND b.stage = :base
            WHERE q.id = renders.queue_id)
    WHERE id = ANY (CAST(:ids AS bigint[])) RETURNING queue_id
""")

_SEALS = text("SELECT id FROM shards WHERE dataset_id = :id AND number >= 0 AND state = 'failed' ORDER BY id")

_SEALS_AGAIN = text("UPDATE shards SET state = 'full' WHERE id = ANY (CAST(:ids AS bigint[]))")

_TOP = text("""
    UPDATE shards SET remaining = remaining + :more, count = count + :new, failed = GREATEST(0, failed - :seals),
        state = 'open'
    WHERE dataset_id = :id AND number = -1
""")

_OPEN = text("""
    UPDATE jobs SET state = 'running', finished_at = NULL, failed = 0, remaining = 1, queued = queued + :n,
                    latents_kept = true, results_gone_at = NULL, clear_from = NULL
    WHERE id = :id
""")


def retry_failed(connection: Connection, dataset_id: UUID) -> int:
    """Queues all failed images of a dataset again, and shards that could not be packed; returns how many.

    Nothing else is touched: not a row, not a file. A dataset that was cancelled stays as it is.

    Raises:
        Conflict: it is about to end; of kind `Ended`: its files are kept no longer.
    """
    values = {"id": dataset_id}
    rows = connection.execute(_FAILED, values | {"failed": int(RenderState.FAILED)}).all()
    touch(connection, dataset_id)
    shards = connection.execute(_LOCK_SHARDS, values).all()
    if any(shard.number == TOP and shard.state == "full" for shard in shards):
        raise Conflict("the files at the top are just being written; try again in a moment")
    job = connection.execute(_LOCK_JOB, values).first()
    if job is None:
        return 0
    if job.results_gone_at is not None:
        raise Ended(told("the files of the dataset", job.results_gone_at, job.retain_days))
    seals = list(connection.execute(_SEALS, values).scalars())
    top = [shard.id for shard in shards if shard.number == TOP and shard.state == "failed"]
    if not rows and not seals:
        return _top_again(connection, dataset_id, top)
    ids = [row.id for row in rows]
    new = list(connection.execute(_SUPPLEMENTS, values | {"ids": ids}).scalars())
    connection.execute(_BACK, {"ids": ids})
    connection.execute(_MOVE, {"ids": ids, "new": new})
    more = {"more": len(new) + len(seals), "new": len(new), "seals": len(seals)}
    connection.execute(_TOP, values | more)
    connection.execute(_OPEN, values | {"n": len(ids)})
    states = {"queued": int(RenderState.QUEUED), "base": int(Stage.BASE)}
    queues = set(connection.execute(_AGAIN, {"ids": ids, **states}).scalars())
    for queue in queues:
        notify(connection, CHANNEL_WORK, queue)
    if seals:
        connection.execute(_SEALS_AGAIN, {"ids": seals})
        queue_seals(connection, seals, [dataset_id])
    return len(ids) + len(seals)


def _top_again(connection: Connection, dataset_id: UUID, top: list[int]) -> int:
    """All shards are sealed, and the files at the top could not be written."""
    if top:
        connection.execute(_SEALS_AGAIN, {"ids": top})
        connection.execute(_OPEN, {"id": dataset_id, "n": 0})
        queue_seals(connection, top, [dataset_id])
    return len(top)
