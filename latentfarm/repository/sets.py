"""Datasets: their record, the parts of their spool, and their renders, which come in from there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.records import ObjectRef
from latentfarm.repository import outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from latentfarm.manifests.checked import Part

_COLUMNS = """
    d.id, d.tenant, d.name, d.phase, d.request, d.seed, d.fingerprint, d.digest, d.images, d.inserted, d.report,
    d.published, d.created_at, j.state, j.queued, j.started_at, j.finished_at, j.cancelled_at, j.paused_at, j.metadata,
    j.retain_days, j.results_gone_at AS gone_at, j.start_after
"""

_FROM = "FROM datasets d LEFT JOIN (SELECT *, user_metadata AS metadata FROM jobs) AS j ON j.id = d.id"

_ADD = text("""
    INSERT INTO datasets (id, tenant, name, phase, request, seed, report)
    VALUES (:id, :tenant, :name, 'checking', CAST(:request AS jsonb), :seed, CAST(:report AS jsonb))
    ON CONFLICT (tenant, name) DO NOTHING RETURNING id
""")

_FIND = text(f"SELECT {_COLUMNS} {_FROM} WHERE d.tenant = :tenant AND d.name = :name")
_GET = text(f"SELECT {_COLUMNS} {_FROM} WHERE d.tenant = :tenant AND d.id = :id")
_LIST = text(f"""
    SELECT {_COLUMNS} {_FROM} WHERE d.tenant = :tenant AND d.id < :before AND d.name NOT LIKE '%/%'
    ORDER BY d.id DESC LIMIT :limit
""")

# What came in before stays, and is gone on with.
_REJECT = text("""
    UPDATE datasets SET phase = CASE WHEN digest IS NULL THEN 'rejected' ELSE 'inserted' END,
        report = report - 'again' || CAST(:report AS jsonb), untidy_since = now()
    WHERE id = :id AND phase = 'checking'
""")

_CHECK_AGAIN = text("""
    UPDATE datasets SET phase = 'checking', untidy_since = now(), tidied_to = '', report = report || jsonb_build_object('again', CAST(:request AS jsonb))
    WHERE id = :id AND phase = 'inserted' RETURNING id
""")

_STAY = text("""
    UPDATE datasets SET phase = 'inserted', report = report - 'again' || CAST('{"error": null}' AS jsonb),
        untidy_since = now()
    WHERE id = :id AND phase = 'checking'
""")

_FORGET = text("DELETE FROM datasets WHERE id = :id AND phase IN ('checking', 'rejected')")

_ACCEPT = text("""
    UPDATE datasets SET phase = 'inserting', fingerprint = :fingerprint, digest = :digest, images = :images,
        report = report - 'again' || CAST(:report AS jsonb), untidy_since = now(), tidied_to = ''
    WHERE id = :id AND phase = :phase AND images = :before
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = :id AND (j.cancelled_at IS NOT NULL OR j.results_gone_at IS NOT NULL))
    RETURNING id
""")

_PARTS = text("""
    INSERT INTO dataset_parts (dataset_id, number, first, count, key, sha256, size)
    SELECT :id, * FROM unnest(CAST(:numbers AS int[]), CAST(:firsts AS int[]), CAST(:counts AS int[]),
                              CAST(:keys AS text[]), CAST(:shas AS bytea[]), CAST(:sizes AS bigint[]))
    ON CONFLICT (dataset_id, number) DO UPDATE SET first = EXCLUDED.first, count = EXCLUDED.count,
        key = EXCLUDED.key, sha256 = EXCLUDED.sha256, size = EXCLUDED.size
""")

# An earlier release may have cut the same samples into more parts.
_PARTS_OVER = text("DELETE FROM dataset_parts WHERE dataset_id = :id AND number >= :count")

_PART_AT = text("""
    SELECT number, first, count, key, sha256, size FROM dataset_parts
    WHERE dataset_id = :id AND first <= :ordinal AND first + count > :ordinal
""")

_PROGRESS = text("""
    SELECT coalesce(sum(count - remaining), 0) AS ended, coalesce(sum(failed), 0) AS failed,
           coalesce(sum(images), 0) AS packed, coalesce(sum(seconds), 0) AS seconds,
           coalesce(sum(redrawn), 0) AS redrawn,
           count(*) FILTER (WHERE state = 'sealed') AS sealed, count(*) AS shards
    FROM shards WHERE dataset_id = :id AND number >= 0
""")

_FILES = text("""
    SELECT s.number, s.part, s.images, s.files FROM shards s
    WHERE s.dataset_id = :id AND s.number >= -1 AND s.state = 'sealed' AND (s.number, s.part) > (:number, :part)
    ORDER BY s.number, s.part LIMIT :limit
""")

_FAILURES = text("""
    SELECT r.ordinal, r.seed, a.error_class, a.message FROM renders r
    LEFT JOIN LATERAL (SELECT * FROM attempts t WHERE t.render_id = r.id AND t.error_class IS NOT NULL
                       ORDER BY t.fence DESC LIMIT 1) AS a ON true
    WHERE r.job_id = :id AND r.ordinal >= :first AND r.state = 4 ORDER BY r.ordinal LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A row of `datasets`, and what its job is at; `state` is None while there is no job yet."""

    id: UUID
    tenant: str
    name: str
    phase: str
    request: dict[str, Any]
    seed: int
    fingerprint: str | None
    digest: bytes | None
    images: int
    inserted: int
    report: dict[str, Any]
    published: list[dict[str, Any]] | dict[str, Any]
    created_at: datetime
    state: str | None
    queued: int | None
    started_at: datetime | None
    finished_at: datetime | None
    cancelled_at: datetime | None
    paused_at: datetime | None
    metadata: dict[str, str] | None
    retain_days: float | None
    gone_at: datetime | None
    start_after: datetime | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Images that are final, failed ones among them, those in shards, and device seconds for these.

    Attributes:
        redrawn: times that an image was rendered again with another seed.
    """

    ended: int
    failed: int
    packed: int
    seconds: float
    redrawn: int
    sealed: int
    shards: int


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """The files of a sealed shard; number -1: those at the top."""

    number: int
    part: int
    images: int
    files: list[dict[str, Any]]


def add(
    connection: Connection,
    dataset_id: UUID,
    *,
    tenant: str,
    name: str,
    request: dict[str, Any],
    seed: int,
    report: dict[str, Any],
) -> bool:
    """Stores a dataset whose manifest is to be checked; False when the tenant has one of that name."""
    values = {"id": dataset_id, "tenant": tenant, "name": name, "seed": seed}
    texts = {"request": json.dumps(request), "report": json.dumps(report)}
    return connection.execute(_ADD, values | texts).first() is not None


def find(connection: Connection, name: str, *, tenant: str) -> Dataset | None:
    """The tenant's dataset of that name."""
    return _dataset(connection.execute(_FIND, {"name": name, "tenant": tenant}).first())


def get(connection: Connection, dataset_id: UUID, *, tenant: str) -> Dataset | None:
    """The tenant's dataset of that id."""
    return _dataset(connection.execute(_GET, {"id": dataset_id, "tenant": tenant}).first())


def listing(connection: Connection, *, tenant: str, before: UUID, limit: int) -> list[Dataset]:
    """Datasets older than `before`, newest first."""
    rows = connection.execute(_LIST, {"tenant": tenant, "before": before, "limit": limit})
    return [found for found in map(_dataset, rows) if found is not None]


def reject(connection: Connection, dataset_id: UUID, error: dict[str, Any]) -> None:
    """The manifest is not right: nothing of it will be rendered."""
    if connection.execute(_REJECT, {"id": dataset_id, "report": json.dumps({"error": error})}).rowcount:
        outgoing.write_refusal(connection, dataset_id)


def check_again(connection: Connection, dataset_id: UUID, request: dict[str, Any]) -> bool:
    """A further manifest is to be read for a dataset; False when its rows are still coming in."""
    values = {"id": dataset_id, "request": json.dumps(request)}
    return connection.execute(_CHECK_AGAIN, values).first() is not None


def stay(connection: Connection, dataset_id: UUID) -> None:
    """The manifest that was read again is the one that is there."""
    connection.execute(_STAY, {"id": dataset_id})


def forget(connection: Connection, dataset_id: UUID) -> None:
    """Removes a dataset of which nothing was rendered."""
    connection.execute(_FORGET, {"id": dataset_id})


def accept(
    connection: Connection,
    dataset_id: UUID,
    *,
    fingerprint: str,
    digest: bytes,
    images: int,
    report: dict[str, Any],
    parts: Sequence[Part],
    phase: str,
    before: int,
) -> bool:
    """The manifest is right: its images come in from now on. False when somebody else was faster, or cancelled it.

    Args:
        phase: that the dataset was in when its manifest began to be read.
        before: images that it asked for then.
    """
    values = {"id": dataset_id, "fingerprint": fingerprint, "digest": digest, "images": images}
    values |= {"phase": phase, "before": before}
    if connection.execute(_ACCEPT, values | {"report": json.dumps(report)}).first() is None:
        return False
    connection.execute(_PARTS_OVER, {"id": dataset_id, "count": len(parts)})
    connection.execute(
        _PARTS,
        {
            "id": dataset_id,
            "numbers": [part.number for part in parts],
            "firsts": [part.first for part in parts],
            "counts": [part.count for part in parts],
            "keys": [part.ref.key for part in parts],
            "shas": [part.ref.sha256 for part in parts],
            "sizes": [part.ref.size for part in parts],
        },
    )
    return True


def part_at(connection: Connection, dataset_id: UUID, ordinal: int) -> tuple[int, int, ObjectRef] | None:
    """First ordinal, count and place of the part of the spool that holds an ordinal."""
    row = connection.execute(_PART_AT, {"id": dataset_id, "ordinal": ordinal}).first()
    if row is None:
        return None
    _, first, count, key, sha256, size = row
    return first, count, ObjectRef(key, bytes(sha256), size)


def progress(connection: Connection, dataset_id: UUID) -> Progress:
    """How far a dataset is. Reads its shards, never its renders."""
    return Progress(*connection.execute(_PROGRESS, {"id": dataset_id}).one())


def files(
    connection: Connection, dataset_id: UUID, *, after: tuple[int, int], limit: int
) -> list[ShardFiles]:
    """Sealed shards behind (number, part), in order."""
    values = {"id": dataset_id, "number": after[0], "part": after[1], "limit": limit}
    return [ShardFiles(*row) for row in connection.execute(_FILES, values)]


def failures(connection: Connection, dataset_id: UUID, *, first: int, limit: int) -> list[dict[str, Any]]:
    """Failed images by ordinal, each with the class and the message of its last failure."""
    rows = connection.execute(_FAILURES, {"id": dataset_id, "first": first, "limit": limit})
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def _dataset(row: Row[tuple[object, ...]] | None) -> Dataset | None:
    if row is None:
        return None
    fields: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    digest = fields.pop("digest")
    return Dataset(digest=None if digest is None else bytes(digest), **fields)
