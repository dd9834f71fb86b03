"""Samples become renders: the second pass over a manifest, a part of the spool at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.repository.submitting import add_spec, queue_id
from latentfarm.repository.waiting import SEVERAL
from latentfarm.states import JobState, Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.manifests.sample import Sample

_JOB = text("""
    INSERT INTO jobs (id, tenant, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued,
                      keep_latents, retain_days, user_metadata, webhook, model, start_after)
    VALUES (:id, :tenant, 'dataset', :spec_id, :lane, :priority, :state, :seed, :images, 1, 0,
            :keep_latents, CAST(:retain_days AS double precision), CAST(:metadata AS jsonb),
            (SELECT nullif(request -> 'webhook', 'null') FROM datasets WHERE id = :id), :model, CAST(:start_after AS timestamptz))
    ON CONFLICT (id) DO NOTHING
""")

_LOCK_SHARDS = text("SELECT id FROM shards WHERE dataset_id = :id ORDER BY id FOR UPDATE")

_REOPEN = text("""
    UPDATE jobs SET num_images = :images, remaining = 1, state = 'running', finished_at = NULL,
                    model = :model, results_gone_at = NULL, clear_from = NULL
    WHERE id = :id AND cancelled_at IS NULL
""")

# The last shard of an earlier manifest may have been full of what there was then: what belongs to it now is a
# further part of it.
_SHARDS = text("""
    WITH wanted AS (
        SELECT n AS number, GREATEST(n * :size, :first) AS first, LEAST((n + 1) * :size, :images) AS end
        FROM generate_series(:first / :size, (:images - 1) / :size) AS n),
    made AS (
        INSERT INTO shards (dataset_id, number, part, first, count, remaining, state)
        SELECT CAST(:id AS uuid), w.number,
               (SELECT count(*) FROM shards s WHERE s.dataset_id = :id AND s.number = w.number), w.first,
               w.end - w.first, w.end - w.first, 'open' FROM wanted w
        RETURNING 1)
    INSERT INTO shards (dataset_id, number, part, first, count, remaining, state)
    SELECT CAST(:id AS uuid), -1, 0, 0, count(*), count(*), 'open' FROM made
    ON CONFLICT (dataset_id, number, part) DO UPDATE SET count = shards.count + EXCLUDED.count,
        remaining = shards.remaining + EXCLUDED.count, state = 'open'
""")

_LOCK = text("""
    SELECT d.inserted, d.images, j.cancelled_at IS NOT NULL AS cancelled FROM datasets d JOIN jobs j ON j.id = d.id
    WHERE d.id = :id AND d.phase = 'inserting' FOR UPDATE OF d
""")

_TABLE = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS arriving (ordinal int, seed bigint, digest bytea, body jsonb)
    ON COMMIT DELETE ROWS
""")

_SPECS = text("""
    INSERT INTO specs (digest, body)
    SELECT DISTINCT ON (digest) digest, body FROM arriving ORDER BY digest ON CONFLICT (digest) DO NOTHING
""")

_RENDERS = text("""
    INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage, priority, shard_id)
    SELECT j.id, p.id, a.seed, a.ordinal, q.id, :stage, j.priority, s.id
    FROM arriving a JOIN specs p ON p.digest = a.digest
    JOIN jobs j ON j.id = :id
    JOIN queues q ON q.stage = :stage AND q.lane = j.lane AND q.model = a.body ->> 'model'
    JOIN shards s ON s.dataset_id = j.id AND s.number = a.ordinal / :size AND s.first <= a.ordinal
                 AND s.first + s.count > a.ordinal
    ORDER BY a.ordinal
""")

_COUNT = text("""
    WITH job AS (UPDATE jobs SET queued = queued + :n WHERE id = :id)
    UPDATE datasets SET inserted = :inserted, phase = CASE WHEN :inserted >= images THEN 'inserted' ELSE phase END
    WHERE id = :id
""")


def begin(
    connection: Connection,
    dataset_id: UUID,
    *,
    tenant: str,
    seed: int,
    first: int,
    images: int,
    shard_samples: int,
    picture: dict[str, Any],
    priority: int,
    keep_latents: int,
    retain_days: float | None,
    metadata: dict[str, str],
    models: Sequence[str],
    start_after: str | None = None,
) -> None:
    """Makes the job of a dataset, or opens it again, and the shards of its images from `first` on.

    Args:
        first: ordinal of the first image that is new: 0, or the images of the manifest before it was appended to.
        images: of the whole run, by now.
        picture: stored as the job's spec: that of the first sample.
        retain_days: after the end, for its files; None: for ever. One that is gone on with keeps what it had.
        models: that its rows name.
        start_after: ISO 8601; nothing is dispatched before.
    """
    model = models[0] if len(models) == 1 else SEVERAL
    values = {"id": dataset_id, "images": images, "model": model}
    if first == 0:
        job = {
            "tenant": tenant,
            "spec_id": add_spec(connection, picture),
            "lane": Lane.BULK.value,
            "priority": priority,
            "state": JobState.QUEUED.value,
            "seed": seed,
            "keep_latents": keep_latents,
            "retain_days": retain_days,
            "metadata": json.dumps(metadata),
            "start_after": start_after,
        }
        connection.execute(_JOB, values | job)
    else:
        connection.execute(_LOCK_SHARDS, values)
        connection.execute(_REOPEN, values)
    connection.execute(_SHARDS, values | {"first": first, "size": shard_samples})


def ask(connection: Connection, dataset_id: UUID) -> tuple[int, int] | None:
    """Images inserted and asked for, the dataset being locked; None when nothing more is to come of it."""
    row = connection.execute(_LOCK, {"id": dataset_id}).first()
    return None if row is None or row.cancelled else (row.inserted, row.images)


def insert(
    connection: Connection,
    dataset_id: UUID,
    samples: Sequence[Sample],
    *,
    models: Iterable[str],
    shard_samples: int,
) -> None:
    """Makes renders of samples; the transaction holds the dataset's lock.

    Args:
        samples: in the order of ordinals, the first of them the next that is to be inserted.
        models: that the dataset uses.
    """
    queues = [queue_id(connection, Stage.BASE, model, Lane.BULK) for model in sorted(models)]
    connection.execute(_TABLE)
    _copy(connection, samples)
    connection.execute(_SPECS)
    values: dict[str, Any] = {"id": dataset_id, "stage": int(Stage.BASE), "size": shard_samples}
    made = connection.execute(_RENDERS, values).rowcount
    if made != len(samples):
        raise RuntimeError(f"{made} of {len(samples)} samples became renders")
    last = samples[-1].ordinal + 1
    connection.execute(_COUNT, {"id": dataset_id, "n": made, "inserted": last})
    for queue in queues:
        notify(connection, CHANNEL_WORK, queue)


def _copy(connection: Connection, samples: Iterable[Sample]) -> None:
    driver: Any = connection.connection.driver_connection
    statement = "COPY arriving (ordinal, seed, digest, body) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(statement) as into:
        for sample in samples:
            into.write_row((sample.ordinal, sample.seed, sample.digest, sample.picture))
