"""A job comes in: specs, jobs, renders and the idempotency key, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.messages import queue_name
from latentfarm.spec import digest
from latentfarm.states import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.spec import RenderSpec
    from latentfarm.states import Lane, Stage

_SPEC = text("""
    WITH added AS (
        INSERT INTO specs (digest, body) VALUES (:digest, CAST(:body AS jsonb))
        ON CONFLICT (digest) DO NOTHING RETURNING id)
    SELECT id FROM added UNION ALL SELECT id FROM specs WHERE digest = :digest
""")

# In one order, so that two jobs with the same specs cannot wait for each other in a circle.
_SPECS = text("""
    INSERT INTO specs (digest, body) SELECT digest, CAST(body AS jsonb)
    FROM unnest(CAST(:digests AS bytea[]), CAST(:bodies AS text[])) AS s(digest, body) ORDER BY digest
    ON CONFLICT (digest) DO NOTHING
""")

_SPEC_IDS = text("SELECT id, digest FROM specs WHERE digest = ANY (CAST(:digests AS bytea[]))")
_AT_ONCE = 500
"""Specs of one statement: about a megabyte, unless prompts are long."""

_QUEUE = text("""
    WITH added AS (
        INSERT INTO queues (name, stage, model, lane) VALUES (:name, :stage, :model, :lane)
        ON CONFLICT (name) DO NOTHING RETURNING id)
    SELECT id FROM added UNION ALL SELECT id FROM queues WHERE name = :name
""")

INSERT_JOB = """
    INSERT INTO jobs (id, tenant, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued,
                      keep_latents, retain_days, user_metadata, webhook, source_job_id, source, model)
    SELECT CAST(:id AS uuid), :tenant, :kind, {spec}, :lane, :priority, :state, :seed, :n, :n, {queued},
           :keep_latents, CAST(:retain_days AS double precision), CAST(:metadata AS jsonb),
           CAST(:webhook AS jsonb), CAST(:source_job_id AS uuid), :source, :model
"""
_JOB = text(INSERT_JOB.format(spec="CAST(:spec_id AS bigint)", queued=":n"))

_KEY = text("""
    INSERT INTO idempotency (tenant, key, fingerprint, job_id) VALUES (:tenant, :key, :fingerprint, :job_id)
    ON CONFLICT (tenant, key) DO NOTHING RETURNING job_id
""")

_KNOWN_KEY = text("SELECT fingerprint, job_id FROM idempotency WHERE tenant = :tenant AND key = :key")


def add_spec(connection: Connection, picture: dict[str, Any]) -> int:
    """Stores a picture once and gives its id."""
    parameters = {"digest": digest(picture), "body": _json(picture)}
    # A racing insert of the same digest is waited for and then seen only by the next statement.
    found = connection.execute(_SPEC, parameters).first() or connection.execute(_SPEC, parameters).one()
    return int(found[0])


def add_specs(connection: Connection, pictures: Sequence[dict[str, Any]]) -> list[int]:
    """Stores many pictures, each once, and gives their ids; a few statements for all of them."""
    digests_of = [digest(picture) for picture in pictures]
    distinct = sorted(dict(zip(digests_of, pictures, strict=True)).items())
    found: dict[bytes, int] = {}
    for start in range(0, len(distinct), _AT_ONCE):
        part = distinct[start : start + _AT_ONCE]
        names = [name for name, _ in part]
        connection.execute(_SPECS, {"digests": names, "bodies": [_json(picture) for _, picture in part]})
        rows = connection.execute(_SPEC_IDS, {"digests": names})
        found |= {bytes(row.digest): row.id for row in rows}
    return [found[one] for one in digests_of]


def queue_id(connection: Connection, stage: Stage, model: str, lane: Lane) -> int:
    """The id of a queue, made when it is first needed."""
    parameters = {
        "name": queue_name(stage, model, lane),
        "stage": int(stage),
        "model": model,
        "lane": lane.value,
    }
    found = connection.execute(_QUEUE, parameters).first() or connection.execute(_QUEUE, parameters).one()
    return int(found[0])


def add_record(
    connection: Connection,
    job_id: UUID,
    spec: RenderSpec,
    spec_id: int,
    *,
    tenant: str,
    refined: tuple[UUID, str] | None = None,
) -> None:
    """Stores the record of a job; its renders are the caller's to add.

    Args:
        spec: complete, with a seed.
        refined: the job that it is made from, and from its `latents` or its `image`s.
    """
    connection.execute(_JOB, record(job_id, spec, tenant, refined) | {"spec_id": spec_id})


def record(job_id: UUID, spec: RenderSpec, tenant: str, refined: tuple[UUID, str] | None) -> dict[str, Any]:
    """What a row of `jobs` is made of; arguments as of `add_record`."""
    source_job_id, source = refined or (None, None)
    return {
        "id": job_id,
        "tenant": tenant,
        "kind": "refine" if refined else "single",
        "lane": spec.lane.value,
        "priority": spec.priority,
        "state": JobState.QUEUED.value,
        "seed": spec.seed,
        "n": spec.num_images,
        "keep_latents": spec.keep_latents,
        "retain_days": spec.retain_days,
        "metadata": _json(spec.metadata),
        "webhook": None if spec.webhook is None else spec.webhook.model_dump_json(),
        "source_job_id": source_job_id,
        "source": source,
        "model": spec.model,
    }


def remember_key(
    connection: Connection, tenant: str, key: str, fingerprint: bytes, job_id: UUID
) -> tuple[bytes, UUID] | None:
    """Takes an Idempotency-Key for a new job, or tells whose it is.

    Waits at most 2 s for a racing transaction with the same key; then PostgreSQL raises LockNotAvailable.

    Returns:
        None when the key is new; else the fingerprint and the job that it came with before.
    """
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    parameters = {"tenant": tenant, "key": key, "fingerprint": fingerprint, "job_id": job_id}
    if connection.execute(_KEY, parameters).first() is not None:
        connection.execute(text("SET LOCAL lock_timeout = DEFAULT"))
        return None
    return known_key(connection, tenant, key)


def known_key(connection: Connection, tenant: str, key: str) -> tuple[bytes, UUID] | None:
    """Fingerprint and job of an Idempotency-Key, if it came before."""
    known = connection.execute(_KNOWN_KEY, {"tenant": tenant, "key": key}).first()
    return known and (bytes(known.fingerprint), known.job_id)


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
