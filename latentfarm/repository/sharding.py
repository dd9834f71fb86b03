"""Shards count the renders of a dataset, and the files at the top count the shards.

Renders of datasets lower the counter of their shard, not of their job: a job with a million of them would be one row
that every worker waits for. What reaches 0 is packed by a render of its own, of stage seal, which in its turn
lowers the counter of the top; that one's render lowers the job's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.repository.settling import settle
from latentfarm.repository.submitting import queue_id
from latentfarm.states import Lane, RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection

TOP = -1
"""Number of the shard that stands for the files at the top."""

# In the order of ids, like every lock of the farm, and before the jobs.
_LOWER = text("""
    WITH d AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:ended AS int[]), CAST(:failed AS int[]))
               AS d(id, ended, failed)),
    locked AS (SELECT s.id FROM shards s JOIN d ON d.id = s.id ORDER BY s.id FOR UPDATE OF s)
    UPDATE shards s SET remaining = s.remaining - d.ended, failed = s.failed + d.failed,
        state = CASE WHEN s.state = 'open' AND s.remaining = d.ended THEN 'full' ELSE s.state END
    FROM d, locked WHERE s.id = d.id AND s.id = locked.id
    RETURNING s.id, s.dataset_id, s.state = 'full' AND s.remaining = 0 AS full
""")

# One that could not be packed was final for the top, and is no longer.
_REOPEN = text("""
    WITH d AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:counts AS int[])) AS d(id, n)),
    locked AS (SELECT id, state FROM shards WHERE dataset_id = :dataset AND (number = -1 OR id IN (SELECT id FROM d))
               ORDER BY id FOR UPDATE),
    opened AS (
        UPDATE shards s SET remaining = s.remaining + d.n, state = 'open' FROM d, locked l
        WHERE s.id = d.id AND l.id = s.id),
    back AS (SELECT count(*) AS n FROM locked l JOIN d ON d.id = l.id WHERE l.state = 'failed')
    UPDATE shards t SET remaining = t.remaining + b.n, failed = GREATEST(0, t.failed - b.n), state = 'open'
    FROM back b, locked l WHERE t.dataset_id = :dataset AND t.number = -1 AND l.id = t.id
""")

# One render for each shard, by an ordinal that no image has: -2 for the top, -1002 and below for shards. It is taken again when the shard is opened again.
_SEAL = text("""
    WITH top AS (SELECT dataset_id, id FROM shards WHERE number = -1),
    made AS (
        INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage, priority, shard_id)
        SELECT j.id, j.spec_id, 0, -1002 - CAST(s.number AS bigint) * 1000 - s.part, :queue, :stage, 0,
               CASE WHEN s.number >= 0 THEN (SELECT t.id FROM top t WHERE t.dataset_id = s.dataset_id) END
        FROM shards s JOIN jobs j ON j.id = s.dataset_id
        WHERE s.id = ANY (CAST(:ids AS bigint[])) AND j.cancelled_at IS NULL ORDER BY s.id
        ON CONFLICT (job_id, ordinal) DO UPDATE SET state = :queued, fence = renders.fence + 1, tries = 0,
            starts = 0, sends = 0, suspect = false, owner = NULL, due_at = now()
        RETURNING job_id)
    UPDATE jobs SET queued = queued + (SELECT count(*) FROM made WHERE job_id = jobs.id)
    WHERE id = ANY (CAST(:jobs AS uuid[])) AND cancelled_at IS NULL
""")

# The state in which a dataset ends follows from all its images, and from shards that could not be packed.
_FAILED_IMAGES = text("""
    UPDATE jobs j SET failed = (SELECT sum(s.failed) FROM shards s WHERE s.dataset_id = j.id)
    WHERE j.id = ANY (CAST(:jobs AS uuid[]))
""")

_STILL_FULL = text("""
    SELECT r.id FROM shards s JOIN renders r ON r.job_id = s.dataset_id
     AND r.ordinal = -1002 - CAST(s.number AS bigint) * 1000 - s.part
    WHERE r.id = ANY (CAST(:ids AS bigint[])) AND s.state = 'full' ORDER BY s.id FOR UPDATE OF s
""")

_FAILED_SEALS = text("""
    UPDATE shards s SET state = 'failed' FROM renders r
    WHERE r.id = ANY (CAST(:ids AS bigint[])) AND s.dataset_id = r.job_id AND s.number >= -1
      AND r.ordinal = -1002 - CAST(s.number AS bigint) * 1000 - s.part
""")


@dataclass(frozen=True, slots=True)
class Full:
    """A shard whose renders are all final, and which is to be packed."""

    id: int
    dataset_id: UUID


def standing(connection: Connection, rows: Sequence[Any]) -> list[Any]:
    """Without the renders that pack a shard which was opened again meanwhile: they count for nothing.

    Args:
        rows: of renders that have become final: `id`, `stage`.
    """
    seals = [row.id for row in rows if row.stage == Stage.SEAL]
    if not seals:
        return list(rows)
    full = set(connection.execute(_STILL_FULL, {"ids": seals}).scalars())
    return [row for row in rows if row.stage != Stage.SEAL or row.id in full]


def count_down(connection: Connection, rows: Sequence[Any], *, failed: bool = False) -> list[Full]:
    """Counts the shards of renders down that have become final. Before any job is locked: that is the order.

    Args:
        rows: of renders: `id`, `shard_id` and `stage`.
        failed: whether they failed.

    Returns:
        The shards that are full now, for `go_on`.
    """
    ended = Counter(row.shard_id for row in rows if row.shard_id is not None)
    seals = [row.id for row in rows if row.stage == Stage.SEAL]
    if failed and seals:
        connection.execute(_FAILED_SEALS, {"ids": seals})
    if not ended:
        return []
    ids = sorted(ended)
    counts = [ended[one] for one in ids]
    values = {"ids": ids, "ended": counts, "failed": counts if failed else [0] * len(ids)}
    return [Full(row.id, row.dataset_id) for row in connection.execute(_LOWER, values) if row.full]


def go_on(connection: Connection, rows: Sequence[Any], full: Sequence[Full], *, failed: bool = False) -> None:
    """Has full shards packed, and ends the jobs whose renders are all final.

    Args:
        rows: as for `count_down`, with `job_id`. Their jobs, and those of full shards, are locked.
    """
    if full:
        queue_seals(connection, [one.id for one in full], sorted({one.dataset_id for one in full}))
    tops = sorted({row.job_id for row in rows if row.shard_id is None and row.stage == Stage.SEAL})
    if tops:
        connection.execute(_FAILED_IMAGES, {"jobs": tops})
    ended = Counter(row.job_id for row in rows if row.shard_id is None)
    settle(connection, {job: (count, count if failed else 0) for job, count in ended.items()})


def jobs_of(rows: Sequence[Any], full: Sequence[Full]) -> set[UUID]:
    """The jobs that `go_on` changes."""
    return {row.job_id for row in rows if row.shard_id is None} | {one.dataset_id for one in full}


def queue_seals(connection: Connection, shards: Sequence[int], jobs: Sequence[UUID]) -> None:
    """Queues the render that packs each of the shards."""
    queue = queue_id(connection, Stage.SEAL, "", Lane.BULK)
    values = {"ids": list(shards), "jobs": list(jobs), "queue": queue, "stage": int(Stage.SEAL)}
    connection.execute(_SEAL, {**values, "queued": int(RenderState.QUEUED)})
    notify(connection, CHANNEL_WORK, queue)


def reopen(connection: Connection, dataset_id: UUID, renders: Mapping[int, int]) -> None:
    """Renders of a dataset that had succeeded are to be made again, in the shards that they belong to.

    Args:
        renders: shard id -> how many. None of these shards is sealed.
    """
    ids = sorted(renders)
    values = {"ids": ids, "counts": [renders[one] for one in ids], "dataset": dataset_id}
    connection.execute(_REOPEN, values)
