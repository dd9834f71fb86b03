"""What the API shows. Every statement carries the tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.evidence import Mishap
from latentfarm.records import Event, Image, Job, ObjectRef
from latentfarm.retention import without_prompts
from latentfarm.states import JobState, Lane, RenderState, Stage
from latentfarm.story import tell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, RowMapping

COLUMNS = """
    j.id, j.kind, j.tenant, j.state, j.lane, j.priority, j.seed, j.num_images, j.remaining, j.failed,
    j.keep_latents, s.body AS spec, j.user_metadata, j.created_at, j.started_at, j.finished_at,
    j.source_job_id, j.source, j.paused_at, j.start_after, j.retain_days, j.results_gone_at AS gone_at,
    j.deleted_at
"""

_JOB = text(f"""
    SELECT {COLUMNS} FROM jobs j JOIN specs s ON s.id = j.spec_id WHERE j.id = :id AND j.tenant = :tenant
""")  # noqa: S608 - no input in it

_IMAGES = text("""
    SELECT r.ordinal, r.seed, r.state, r.stage, o.key, o.sha256, o.size, o.notes, s.source_index,
           (SELECT jsonb_agg(to_jsonb(m) - 'fence' ORDER BY m.fence) FROM (
                SELECT DISTINCT ON (a.worker_id) a.fence, a.worker_id AS worker, coalesce(w.device, '') AS device,
                       a.error_class, a.message
                FROM attempts a LEFT JOIN workers w ON w.id = a.worker_id
                WHERE a.render_id = r.id AND r.state = 4 AND a.outcome IN ('failed', 'lost')
                ORDER BY a.worker_id, a.fence DESC) AS m) AS mishaps
    FROM renders r
    LEFT JOIN objects o ON o.render_id = r.id AND o.kind = 'image' AND o.state = 'visible'
    LEFT JOIN render_sources s ON s.render_id = r.id
    WHERE r.job_id = :id AND r.ordinal >= :first ORDER BY r.ordinal LIMIT :limit
""")

_EVENTS = text("""
    SELECT o.id, o.job_id, o.type, o.data, o.created_at FROM outbox o
    WHERE o.job_id = ANY (CAST(:ids AS uuid[])) AND o.id > :after ORDER BY o.id LIMIT 1000
""")

# One branch per partial index: `state < 3` would read every render that ever ended.
_COUNTS = text("""
    SELECT q.name, live.state, live.n FROM (
        SELECT queue_id, 0 AS state, count(*) AS n FROM renders WHERE state = 0 GROUP BY queue_id
        UNION ALL
        SELECT queue_id, 1, count(*) FROM renders WHERE state = 1 GROUP BY queue_id
        UNION ALL
        SELECT queue_id, 2, count(*) FROM renders WHERE state = 2 GROUP BY queue_id
    ) AS live JOIN queues q ON q.id = live.queue_id
""")

# Those of stage seal have ordinals below 0, and are no images.
_STATES = text("SELECT state, count(*) AS n FROM renders WHERE job_id = :id AND ordinal >= 0 GROUP BY state")

_WORKERS = text("""
    SELECT id, host, pid, device, stages, assigned_models, ready, info,
           EXTRACT(EPOCH FROM lease_until - now())::float AS lease_left_s,
           EXISTS (SELECT FROM drains d WHERE d.host = workers.host AND d.device = workers.device) AS drained
    FROM workers WHERE ended_at IS NULL ORDER BY id
""")

_ENDS = text("SELECT coalesce(end_reason, ''), count(*) FROM workers WHERE ended_at IS NOT NULL GROUP BY 1")


def get_job(connection: Connection, job_id: UUID, *, tenant: str) -> Job | None:
    """The job, or None when there is none or it is another tenant's."""
    row = connection.execute(_JOB, {"id": job_id, "tenant": tenant}).mappings().first()
    return None if row is None else job_of(row)


def images(connection: Connection, job_id: UUID, *, first: int = 0, limit: int = 1000) -> list[Image]:
    """The images of a job by index, from `first` on. The caller has checked the tenant."""
    rows = connection.execute(_IMAGES, {"id": job_id, "first": first, "limit": limit}).mappings()
    return [_image(row) for row in rows]


def count_states(connection: Connection, job_id: UUID) -> dict[RenderState, int]:
    """How many images of a job are in each state; states without any are left out."""
    return {RenderState(row.state): row.n for row in connection.execute(_STATES, {"id": job_id})}


def events(connection: Connection, jobs: Sequence[UUID], *, after: int) -> list[Event]:
    """Outbox rows of the given jobs with an id over `after`, oldest first, at most 1,000."""
    rows = connection.execute(_EVENTS, {"ids": list(jobs), "after": after})
    return [Event(*row) for row in rows]


def live_counts(connection: Connection) -> list[tuple[str, RenderState, int]]:
    """(queue, state, renders) over all live renders; for metrics."""
    return [(row.name, RenderState(row.state), row.n) for row in connection.execute(_COUNTS)]


def live_workers(connection: Connection) -> list[RowMapping]:
    """Incarnations that have not ended, with `lease_left_s`."""
    return list(connection.execute(_WORKERS).mappings())


def worker_ends(connection: Connection) -> dict[str, int]:
    """How many incarnations ended for each reason."""
    return {row[0]: row[1] for row in connection.execute(_ENDS)}


def job_of(row: RowMapping) -> Job:
    """The record in a row of `COLUMNS`."""
    fields = dict(row)
    metadata = fields.pop("user_metadata")
    if fields["deleted_at"] is not None:
        fields["spec"] = without_prompts(fields["spec"])
    fields["state"], fields["lane"] = JobState(fields["state"]), Lane(fields["lane"])
    return Job(metadata=metadata, **fields)


def _image(row: RowMapping) -> Image:
    ref = ObjectRef(row["key"], bytes(row["sha256"]), row["size"]) if row["key"] else None
    return Image(
        index=row["ordinal"],
        seed=row["seed"],
        state=RenderState(row["state"]),
        stage=Stage(row["stage"]),
        ref=ref,
        notes=row["notes"] or {},
        error=tell([Mishap(**mishap) for mishap in row["mishaps"] or ()]),
        source_index=row["source_index"],
    )
