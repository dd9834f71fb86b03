"""What is to be expected of datasets: how fast the farm is, how large its images are, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.states import RenderState

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

# Counters tell seconds and steps, attempts tell of which size those were.
_SPEED = text("""
    WITH live AS (
        SELECT sum(CAST(info -> 'counters' ->> 'busy_s' AS float)) AS busy_s,
               sum(CAST(info -> 'counters' ->> 'steps' AS float)) AS steps
        FROM workers WHERE ended_at IS NULL AND info -> 'counters' ->> 'steps' IS NOT NULL),
    recent AS (
        SELECT a.steps, CAST(s.body ->> 'width' AS float) * CAST(s.body ->> 'height' AS float) / 1e6 AS megapixels
        FROM (SELECT render_id, steps FROM attempts WHERE steps > 0 ORDER BY started_at DESC LIMIT :most) AS a
        JOIN renders r ON r.id = a.render_id JOIN specs s ON s.id = r.spec_id)
    SELECT live.busy_s, live.steps, sum(recent.steps * recent.megapixels) / sum(recent.steps) AS megapixels
    FROM live CROSS JOIN recent GROUP BY live.busy_s, live.steps
""")

_SIZES = text("""
    SELECT count(*) AS n, avg(size)::float AS mean FROM (
        SELECT size FROM objects WHERE kind = 'image' AND state <> 'planned' AND size > 0
        ORDER BY render_id DESC LIMIT :most) AS o
""")

# Single images go when they are packed: what shards weigh is known for longer.
_SHARD_SIZES = text("""
    SELECT sum(s.images) AS n,
           sum((SELECT sum(CAST(f ->> 'size' AS bigint)) FROM jsonb_array_elements(s.files) AS f))::float
               / sum(s.images) AS mean
    FROM (SELECT images, files FROM shards WHERE state = 'sealed' AND number >= 0 AND images > 0
          ORDER BY id DESC LIMIT 20) AS s
""")

# By shards that miss some, so that a million images without a failure are not looked at.
_CLASSES = text("""
    SELECT coalesce(f.error_class, 'unknown') AS error_class, count(*) AS n FROM (
        SELECT a.error_class FROM shards s
        JOIN renders r ON r.job_id = s.dataset_id AND r.shard_id = s.id AND r.state = :failed
             AND r.ordinal >= s.number * :size AND r.ordinal < (s.number + 1) * :size
        LEFT JOIN LATERAL (SELECT t.error_class FROM attempts t
                           WHERE t.render_id = r.id AND t.error_class IS NOT NULL
                           ORDER BY t.fence DESC LIMIT 1) AS a ON true
        WHERE s.dataset_id = :id AND s.number >= 0 AND s.failed > 0 LIMIT :most) AS f
    GROUP BY 1 ORDER BY 2 DESC, 1
""")

_SHARDS = text("""
    SELECT s.number, s.part, a.error_class, a.message FROM shards s
    LEFT JOIN renders r ON r.job_id = s.dataset_id AND r.ordinal = -1002 - CAST(s.number AS bigint) * 1000 - s.part
    LEFT JOIN LATERAL (SELECT t.error_class, t.message FROM attempts t
                       WHERE t.render_id = r.id AND t.error_class IS NOT NULL
                       ORDER BY t.fence DESC LIMIT 1) AS a ON true
    WHERE s.dataset_id = :id AND s.state = 'failed' ORDER BY s.number, s.part LIMIT :most
""")

_NOW = text("SELECT now()")
CLASSES_OF = 10_000
"""Failed images that are looked at for their classes."""
RECENT = 500
"""Attempts and images that estimates are made of."""
SHARDS = 10
"""Failed shards that are listed."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What live workers have done: seconds and steps of their engines, and the mean size of recent steps."""

    busy_s: float
    steps: float
    megapixels: float


def speed(connection: Connection) -> Speed | None:
    """How fast the farm is; None when its workers have not done a step yet."""
    row = connection.execute(_SPEED, {"most": RECENT}).first()
    if row is None or not row.busy_s or not row.steps or not row.megapixels:
        return None
    return Speed(row.busy_s, row.steps, row.megapixels)


def image_size(connection: Connection) -> tuple[float, str] | None:
    """Mean bytes of an image, and what that was made of; None when there is none."""
    alone = connection.execute(_SIZES, {"most": RECENT}).one()
    if alone.n:
        return alone.mean, f"the mean size of the last {alone.n} images"
    packed = connection.execute(_SHARD_SIZES).one()
    return (packed.mean, f"the mean of {packed.n} images in the last shards") if packed.n else None


def failure_classes(connection: Connection, dataset_id: UUID, *, shard_samples: int) -> dict[str, int]:
    """Failed images by class, most first; of at most `CLASSES_OF`."""
    values = {"id": dataset_id, "size": shard_samples, "failed": int(RenderState.FAILED), "most": CLASSES_OF}
    return {row.error_class: row.n for row in connection.execute(_CLASSES, values)}


def failed_shards(connection: Connection, dataset_id: UUID) -> list[dict[str, Any]]:
    """Shards that could not be packed, each with its last failure."""
    rows = connection.execute(_SHARDS, {"id": dataset_id, "most": SHARDS})
    return [dict(row) for row in rows.mappings()]


def now(connection: Connection) -> datetime:
    """The time of the database, which all other times are of."""
    found: datetime = connection.execute(_NOW).scalar_one()
    return found
