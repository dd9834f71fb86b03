"""A shard is packed: what belongs to it, and the commit that makes it part of the dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.records import ObjectRef
from latentfarm.repository.settling import lock_jobs
from latentfarm.repository.sharding import count_down, go_on, jobs_of, standing
from latentfarm.states import RenderState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.messages import Pair

_TASK = text("""
    SELECT s.id, s.number, s.part, s.first, s.count, d.id AS dataset_id, d.name, d.request, d.seed, d.fingerprint,
           d.digest, d.images, coalesce(d.report -> 'licences', '{}'::jsonb) AS licences
    FROM renders r JOIN datasets d ON d.id = r.job_id
    JOIN shards s ON s.dataset_id = d.id AND r.ordinal = -1002 - CAST(s.number AS bigint) * 1000 - s.part
    WHERE r.id = :id AND r.fence = :fence AND r.state = :running
""")

_PARTS = text("""
    SELECT number, first, count, key, sha256, size FROM dataset_parts
    WHERE dataset_id = :dataset AND first < :end AND first + count > :first ORDER BY number
""")

# By the ordinals, which have an index; a supplement has some of those of its shard.
_MEMBERS = text("""
    SELECT r.id, r.ordinal, r.seed, r.state, o.fence, o.key, o.sha256, o.size, coalesce(o.notes, '{}'::jsonb) AS notes,
           a.worker_id, a.seconds, a.started_at, a.finished_at, a.starts, a.non_finite, a.error_class, a.message,
           d.rejected
    FROM renders r
    LEFT JOIN objects o ON o.render_id = r.id AND o.kind = 'image' AND o.state = 'visible'
    CROSS JOIN LATERAL (
        SELECT coalesce(max(b.fence), 0) AS fence, coalesce(jsonb_agg(
            jsonb_build_object('seed', b.seed, 'reasons', b.reasons) ORDER BY b.number), '[]'::jsonb) AS rejected
        FROM redraws b WHERE b.render_id = r.id) AS d
    CROSS JOIN LATERAL (
        SELECT sum(EXTRACT(EPOCH FROM t.ended_at - t.started_at))::float AS seconds, min(t.started_at) AS started_at,
               max(t.ended_at) AS finished_at, count(*) AS starts,
               (array_agg(t.worker_id ORDER BY t.fence DESC))[1] AS worker_id,
               coalesce(bool_or(t.error_class = 'non_finite' AND t.fence >= d.fence), false) AS non_finite,
               (array_agg(t.error_class ORDER BY t.fence DESC))[1] AS error_class,
               (array_agg(t.message ORDER BY t.fence DESC))[1] AS message
        FROM attempts t WHERE t.render_id = r.id) AS a
    WHERE r.job_id = :dataset AND r.ordinal >= :first AND r.ordinal < :end AND r.shard_id = :shard
    ORDER BY r.ordinal
""")

_OF_SHARDS = text("""
    SELECT f ->> 'path' AS path, f ->> 'key' AS key, f ->> 'sha256' AS sha256, (f ->> 'size')::bigint AS size
    FROM shards s, jsonb_array_elements(s.files) AS f
    WHERE s.dataset_id = :dataset AND s.number >= 0 AND s.state = 'sealed' AND f ->> 'path' LIKE :pattern
    ORDER BY s.number, s.part
""")
_MARKS, _INDEXES = "%\\_stats.json", "index/%.parquet"

_LOCK = text("""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence))
    SELECT r.id, r.fence, r.job_id, r.ordinal, r.shard_id, r.stage FROM renders r
    JOIN w ON w.id = r.id AND w.fence = r.fence
    WHERE r.state = :running ORDER BY r.id FOR UPDATE OF r
""")

_CLOSE = text("""
    WITH d AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS d(id, fence)),
    done AS (
        UPDATE renders r SET state = :succeeded, owner = NULL, suspect = false FROM d WHERE r.id = d.id)
    UPDATE attempts a SET ended_at = now(), outcome = 'succeeded', steps = 0
    FROM d WHERE a.render_id = d.id AND a.fence = d.fence
""")

_SEALED = text("""
    UPDATE shards SET state = 'sealed', images = :images, seconds = :seconds, files = CAST(:files AS jsonb),
                      sealed_at = now()
    WHERE id = :id
""")

_PUBLISHED = text("UPDATE datasets SET published = CAST(:files AS jsonb) WHERE id = :id")

# They are in the shard now. Whoever reads one by its link meanwhile has until the collector comes. Latents that are to be
# kept for a time are swept after it, like those of any job.
_PACKED = text("""
    UPDATE objects o SET state = 'going' FROM renders r JOIN jobs j ON j.id = r.job_id
    WHERE r.job_id = :dataset AND r.shard_id = :shard AND o.render_id = r.id AND o.state = 'visible'
      AND (o.kind = 'image' OR j.keep_latents = 0)
""")


@dataclass(frozen=True, slots=True)
class Task:
    """A shard that is to be packed.

    Attributes:
        shard_id: its row.
        number: -1 stands for the files at the top.
        part: 0, or more for a supplement.
        first: ordinal; its renders are among the `count` from there on, of a supplement perhaps more of them.
        request: `DatasetRequest` as stored.
        fingerprint: canonical JSON.
        digest: SHA-256 of the spool's lines.
        images: of the whole run.
        licences: by model, as the registry had them; empty where it had none.
    """

    shard_id: int
    number: int
    part: int
    first: int
    count: int
    dataset_id: UUID
    name: str
    request: dict[str, Any]
    seed: int
    fingerprint: str
    digest: bytes
    images: int
    licences: dict[str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """A render of a shard, with its image if it has one and the evidence of its attempts.

    Attributes:
        non_finite: whether an attempt with the seed that it has now ended so.
        rejected: `seed` and `reasons` of images that it had before, and that were found wanting.
    """

    render_id: int
    ordinal: int
    seed: int
    state: RenderState
    ref: ObjectRef | None
    notes: dict[str, Any]
    worker_id: int | None
    seconds: float
    started_at: datetime | None
    finished_at: datetime | None
    starts: int
    non_finite: bool
    error_class: str | None
    message: str | None
    rejected: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """A shard whose files are in the bucket.

    Attributes:
        files: path below the dataset, key, size and SHA-256 in hex of each; the completion mark is the last.
        seconds: on devices, for its images.
    """

    render_id: int
    fence: int
    shard_id: int
    dataset_id: UUID
    number: int
    images: int
    seconds: float
    files: tuple[dict[str, Any], ...]


def task_of(connection: Connection, render_id: int, fence: int) -> Task | None:
    """What a claimed render of stage seal is to pack; None when it is no longer this claim's."""
    values = {"id": render_id, "fence": fence, "running": int(RenderState.RUNNING)}
    row = connection.execute(_TASK, values).first()
    if row is None:
        return None
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return Task(shard_id=fields["id"], **{name: value for name, value in fields.items() if name != "id"})


def parts_of(connection: Connection, task: Task, end: int) -> list[ObjectRef]:
    """The parts of the spool with the samples of the shard, in order.

    Args:
        end: ordinal behind the last sample.
    """
    values = {"dataset": task.dataset_id, "first": task.first, "end": end}
    return [ObjectRef(row.key, bytes(row.sha256), row.size) for row in connection.execute(_PARTS, values)]


def members_of(connection: Connection, task: Task, end: int) -> list[Member]:
    """The renders of a shard by ordinal; all of them are final.

    Args:
        end: ordinal behind which there are none.
    """
    values = {"dataset": task.dataset_id, "shard": task.shard_id, "first": task.first, "end": end}
    return [_member(row) for row in connection.execute(_MEMBERS, values)]


def _member(row: Any) -> Member:
    ref = ObjectRef(row.key, bytes(row.sha256), row.size) if row.key else None
    return Member(
        render_id=row.id,
        ordinal=row.ordinal,
        seed=row.seed,
        state=RenderState(row.state),
        ref=ref,
        notes=row.notes,
        worker_id=row.worker_id,
        seconds=row.seconds or 0.0,
        started_at=row.started_at,
        finished_at=row.finished_at,
        starts=row.starts,
        non_finite=row.non_finite,
        error_class=row.error_class,
        message=row.message,
        rejected=tuple(row.rejected),
    )


def marks_of(connection: Connection, dataset: UUID) -> list[tuple[str, ObjectRef]]:
    """Path and place of the completion marks of all sealed shards of a dataset."""
    return _of_shards(connection, dataset, _MARKS)


def indexes_of(connection: Connection, dataset: UUID) -> list[tuple[str, ObjectRef]]:
    """Path and place of their indexes."""
    return _of_shards(connection, dataset, _INDEXES)


def _of_shards(connection: Connection, dataset: UUID, pattern: str) -> list[tuple[str, ObjectRef]]:
    rows = connection.execute(_OF_SHARDS, {"dataset": dataset, "pattern": pattern})
    return [(row.path, ObjectRef(row.key, bytes.fromhex(row.sha256), row.size)) for row in rows]


def seal(connection: Connection, packed: Sequence[Packed]) -> set[Pair]:
    """Shards become part of their datasets, and their single images go; the last one ends the job.

    Returns:
        The accepted (render id, fence) pairs; of the others nothing is to be seen.
    """
    pairs = {"ids": [one.render_id for one in packed], "fences": [one.fence for one in packed]}
    rows = connection.execute(_LOCK, {**pairs, "running": int(RenderState.RUNNING)}).all()
    held = {(row.id, row.fence) for row in rows}
    accepted = [one for one in packed if (one.render_id, one.fence) in held]
    if not accepted:
        return set()
    mine = {"ids": [one.render_id for one in accepted], "fences": [one.fence for one in accepted]}
    connection.execute(_CLOSE, {**mine, "succeeded": int(RenderState.SUCCEEDED)})
    for one in accepted:
        if one.number < 0:
            # Datasets are locked before shards, and these before jobs.
            connection.execute(_PUBLISHED, {"id": one.dataset_id, "files": json.dumps(one.files)})
    rows = standing(connection, [row for row in rows if (row.id, row.fence) in held])
    counted = {row.id for row in rows}
    for one in accepted:
        if one.render_id not in counted:
            continue
        files = json.dumps(one.files)
        values = {"id": one.shard_id, "images": one.images, "seconds": one.seconds, "files": files}
        connection.execute(_SEALED, values)
        if one.number >= 0:
            connection.execute(_PACKED, {"dataset": one.dataset_id, "shard": one.shard_id})
    full = count_down(connection, rows)
    lock_jobs(connection, jobs_of(rows, full))
    go_on(connection, rows, full)
    return held
