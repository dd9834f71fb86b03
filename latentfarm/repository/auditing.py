"""What SQL says is in the bucket, for whoever compares the two. Across tenants: for operators only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.keys import input_key
from latentfarm.records import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

_JOBS = text("SELECT id FROM jobs WHERE id > :after ORDER BY id LIMIT :limit")

_HAS_JOB = text("SELECT EXISTS (SELECT FROM jobs WHERE id = :id)")

# A succeeded render has an image; one without a visible row is told of with the fence that it has now.
_STORED = text("""
    SELECT r.id, r.ordinal, o.fence, o.kind, o.key, o.sha256, o.size FROM renders r
    JOIN objects o ON o.render_id = r.id AND o.state = 'visible'
    WHERE r.job_id = :job AND r.ordinal >= :first AND r.ordinal < :end
    UNION ALL
    SELECT r.id, r.ordinal, r.fence, 'image', '', NULL, 0 FROM renders r
    WHERE r.job_id = :job AND r.ordinal >= :first AND r.ordinal < :end AND r.state = 3
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = :job AND j.results_gone_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM shards s WHERE s.id = r.shard_id AND s.state = 'sealed')
      AND NOT EXISTS (SELECT FROM objects o WHERE o.render_id = r.id AND o.state = 'visible' AND o.kind = 'image')
    ORDER BY 2, 4, 3
""")

_RENDERS = text("""
    SELECT id FROM renders WHERE job_id = :job AND ordinal >= :first AND ordinal < :end ORDER BY ordinal
""")

_FILES = text("""
    SELECT f ->> 'key' AS key, f ->> 'sha256' AS sha256, CAST(f ->> 'size' AS bigint) AS size
    FROM shards s, jsonb_array_elements(s.files) AS f
    WHERE s.dataset_id = :job AND s.state = 'sealed'
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = :job AND j.results_gone_at IS NOT NULL) ORDER BY s.number, s.part, key
""")

_INPUTS_OF = text("""
    SELECT i.sha256, i.size, i.key FROM inputs i JOIN job_inputs u ON u.sha256 = i.sha256
    WHERE u.job_id = :job AND i.stored_at IS NOT NULL ORDER BY i.sha256
""")

_INPUTS = text("""
    SELECT sha256, size, key FROM inputs WHERE stored_at IS NOT NULL AND sha256 > :after ORDER BY sha256 LIMIT :limit
""")

_STILL_VISIBLE = text("""
    SELECT EXISTS (SELECT FROM objects
                   WHERE render_id = :render AND fence = :fence AND state = 'visible' AND sha256 = :sha256)
""")

_STILL_INPUT = text("SELECT EXISTS (SELECT FROM inputs WHERE sha256 = :sha256 AND stored_at IS NOT NULL)")

_KNOWN = text("""
    SELECT key FROM objects WHERE render_id = ANY (CAST(:renders AS bigint[])) AND key = ANY (CAST(:keys AS text[]))
""")

_KNOWN_INPUTS = text("SELECT sha256 FROM inputs WHERE sha256 = ANY (CAST(:shas AS bytea[]))")

_KNOWN_DATASETS = text("SELECT id FROM datasets WHERE id = ANY (CAST(:ids AS uuid[]))")

_KNOWN_UPLOADS = text("SELECT id FROM uploads WHERE id = ANY (CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that must be in the bucket.

    Attributes:
        kind: `image`, `latents` or `input`.
        ref: None when a render succeeded and no row tells of its image.
        job_id: None for inputs, which are of any number of jobs.
        index: of the image in its job.
    """

    kind: str
    ref: ObjectRef | None
    job_id: UUID | None = None
    render_id: int = 0
    fence: int = 0
    index: int = 0


def jobs(connection: Connection, *, after: UUID, limit: int) -> list[UUID]:
    """Ids of all jobs, in order, from behind `after` on."""
    return list(connection.execute(_JOBS, {"after": after, "limit": limit}).scalars())


def has_job(connection: Connection, job_id: UUID) -> bool:
    """Whether there is such a job, of whatever tenant."""
    return bool(connection.execute(_HAS_JOB, {"id": job_id}).scalar_one())


def stored(connection: Connection, job_id: UUID, *, first: int, limit: int) -> list[Stored]:
    """What the renders of a job have in the bucket: those with index `first` and the `limit` - 1 behind it."""
    rows = connection.execute(_STORED, {"job": job_id, "first": first, "end": first + limit})
    return [
        Stored(
            row.kind,
            ObjectRef(row.key, bytes(row.sha256), row.size) if row.key else None,
            job_id,
            row.id,
            row.fence,
            row.ordinal,
        )
        for row in rows
    ]


def renders(connection: Connection, job_id: UUID, *, first: int, limit: int) -> list[int]:
    """Ids of the same renders, whatever they have."""
    values = {"job": job_id, "first": first, "end": first + limit}
    return list(connection.execute(_RENDERS, values).scalars())


def files_of(connection: Connection, job_id: UUID) -> list[ObjectRef]:
    """The files of a dataset that are complete; none of any other job."""
    rows = connection.execute(_FILES, {"job": job_id})
    return [ObjectRef(row.key, bytes.fromhex(row.sha256), row.size) for row in rows]


def inputs_of(connection: Connection, job_id: UUID) -> list[Stored]:
    """The pictures that a job starts from, as far as they are kept."""
    return [_input(*row) for row in connection.execute(_INPUTS_OF, {"job": job_id})]


def inputs(connection: Connection, *, after: bytes, limit: int) -> list[Stored]:
    """All pictures that are kept, in the order of their digests."""
    return [_input(*row) for row in connection.execute(_INPUTS, {"after": after, "limit": limit})]


def still_stored(connection: Connection, what: Stored) -> bool:
    """Whether the row is as it was: objects may be deleted, rightly, while somebody looks for them."""
    if what.ref is None:
        return True
    if what.kind == "input":
        return bool(connection.execute(_STILL_INPUT, {"sha256": what.ref.sha256}).scalar_one())
    values = {"render": what.render_id, "fence": what.fence, "sha256": what.ref.sha256}
    return bool(connection.execute(_STILL_VISIBLE, values).scalar_one())


def known_keys(connection: Connection, keys: Sequence[tuple[int, str]]) -> set[str]:
    """Those of some (render id, key) pairs that a row tells of, whether planned, visible or going."""
    values = {"renders": sorted({render for render, _ in keys}), "keys": [key for _, key in keys]}
    return set(connection.execute(_KNOWN, values).scalars())


def known_inputs(connection: Connection, shas: Collection[bytes]) -> set[bytes]:
    """Those of some digests that are inputs, planned ones among them."""
    return {bytes(found) for found in connection.execute(_KNOWN_INPUTS, {"shas": list(shas)}).scalars()}


def known_datasets(connection: Connection, ids: Collection[UUID]) -> set[UUID]:
    """Those of some ids that are datasets. What is left over of one of them, the scheduler finds."""
    return set(connection.execute(_KNOWN_DATASETS, {"ids": list(ids)}).scalars())


def known_uploads(connection: Connection, ids: Collection[UUID]) -> set[UUID]:
    """Those of some ids that are uploads."""
    return set(connection.execute(_KNOWN_UPLOADS, {"ids": list(ids)}).scalars())


def _input(sha256: bytes, size: int, key: str | None) -> Stored:
    digest = bytes(sha256)
    return Stored("input", ObjectRef(key or input_key(digest), digest, size))
