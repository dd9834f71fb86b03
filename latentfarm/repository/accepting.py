"""A job is accepted: spec, job and renders in one statement, which sends the first of them off where there is room."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK
from latentfarm.messages import queue_name
from latentfarm.modes import first_stage
from latentfarm.records import Pick, Picked, Queue
from latentfarm.references import digests
from latentfarm.repository import inputs, quotas
from latentfarm.repository.dispatching import ROOM
from latentfarm.repository.submitting import INSERT_JOB, record
from latentfarm.repository.tenancy import check_cap
from latentfarm.spec import digest
from latentfarm.states import RenderState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection, Row, TextClause

    from latentfarm.quotas import Ask
    from latentfarm.spec import RenderSpec

    Rows = Sequence[Row[tuple[object, ...]]]

_QUEUED, _DISPATCHED = int(RenderState.QUEUED), int(RenderState.DISPATCHED)

# Others go first where some wait already, and where a tenant has limits `pick` has to weigh them. Another dispatcher
# is not waited for. The count may miss what one has committed since the statement began; then the window holds that much
# more, for once.
_LEFT = f"""
    SELECT mine AND NOT others AS mine, workers, capacity,
           CASE WHEN mine AND NOT others THEN LEAST(:n, GREATEST(0, GREATEST(:least, seen.window) - dispatched)) ELSE 0 END AS sent
    FROM (
        SELECT pg_try_advisory_xact_lock(4711, queue) AS mine, r.workers, r.capacity, r.window, r.dispatched,
               EXISTS (SELECT FROM renders WHERE queue_id = queue AND state = {_QUEUED})
               OR EXISTS (SELECT FROM tenants WHERE name = :tenant
                          AND (paused_at IS NOT NULL OR max_in_flight IS NOT NULL))
               OR r.drained AS others
        FROM place, LATERAL ({ROOM.format(queue="place.queue")}) AS r) AS seen
"""  # noqa: S608 - no input in it
_NONE_LEFT = "SELECT false AS mine, 0 AS workers, 0 AS capacity, 0 AS sent FROM place"

# All of it in one round trip. What a racing transaction is adding, spec or queue, this statement does not see once it has
# waited for it: then it adds nothing, and is asked again. Nor does it add what would have to be undone when it is `alone`.
_STORE = f"""
    WITH new_spec AS (
        INSERT INTO specs (digest, body) VALUES (:digest, CAST(:body AS jsonb))
        ON CONFLICT (digest) DO NOTHING RETURNING id),
    new_queue AS (
        INSERT INTO queues (name, stage, model, lane) VALUES (:name, :stage, :model, :lane)
        ON CONFLICT (name) DO NOTHING RETURNING id),
    found AS (
        SELECT coalesce((SELECT id FROM new_spec), (SELECT id FROM specs WHERE digest = :digest)) AS spec,
               coalesce((SELECT id FROM new_queue), (SELECT id FROM queues WHERE name = :name)) AS queue,
               (SELECT max_queued FROM tenants WHERE name = :tenant) AS cap,
               EXISTS (SELECT FROM quotas WHERE tenant = :tenant) AS has_quotas),
    place AS MATERIALIZED (
        SELECT * FROM found WHERE spec IS NOT NULL AND queue IS NOT NULL
        AND NOT (:alone AND (has_quotas OR cap IS NOT NULL))),
    room AS MATERIALIZED ({{left}}),
    job AS ({INSERT_JOB.format(spec="spec", queued=":n - sent")} FROM place, room),
    made AS (
        INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage, priority, state, sent_at, sends)
        SELECT :id, spec, (CAST(:seed AS numeric) + i) % 9007199254740992, i, queue, :stage, :priority,
               CASE WHEN i < sent THEN {_DISPATCHED} ELSE {_QUEUED} END, CASE WHEN i < sent THEN now() END,
               CASE WHEN i < sent THEN 1 ELSE 0 END
        FROM place, room, generate_series(0, :n - 1) AS i
        RETURNING id, fence, suspect, state)
    SELECT queue, cap, has_quotas, mine, workers, capacity, m.id, m.fence, m.suspect,
           CASE WHEN CAST(:lane AS text) <> 'interactive' THEN pg_notify(:channel, CAST(queue AS text)) END
    FROM place CROSS JOIN room LEFT JOIN made AS m ON m.state = {_DISPATCHED} ORDER BY m.id
"""  # noqa: S608 - no input in it
_HELD = text(_STORE.format(left=_NONE_LEFT))
_SENT = text(_STORE.format(left=_LEFT))


def is_plain(spec: RenderSpec) -> bool:
    """Whether `store_alone` may be asked to store a job: it starts from no picture, which a job must be tied to."""
    return not digests(spec)


def store_alone(
    connection: Connection, job_id: UUID, spec: RenderSpec, *, tenant: str, least: int | None
) -> int | Picked | None:
    """As `store`, of a plain job, by a statement that is a transaction of its own: one round trip in all.

    Returns:
        None, and no job is stored: the tenant has limits, or somebody else is adding the same spec.
    """
    rows = connection.execute(_statement(least), _values(job_id, spec, tenant, least, alone=True)).all()
    return _stored(rows, spec, least) if rows else None


def store(
    connection: Connection,
    job_id: UUID,
    spec: RenderSpec,
    *,
    tenant: str,
    least: int | None = None,
    asks: Callable[[], Ask] | None = None,
) -> int | Picked:
    """Stores a job and its renders, for the first stage of the spec.

    Args:
        spec: complete, with a seed, its pictures resolved.
        least: of the queue's window, see `dispatching.room`: what has room there, while nobody else waits, is
            dispatched at once; None: nothing is.
        asks: what it counts; only asked where the tenant has quotas.

    Returns:
        What is to be sent; or the id of the queue, where it is for `pick` to choose.

    Raises:
        InvalidInput: a picture that the spec names is no longer kept.
        TooMuchQueued: the tenant has as many renders waiting as it may; of kind `OverQuota`: or as much as its quotas.
    """
    values = _values(job_id, spec, tenant, least, alone=False)
    statement = _statement(least)
    # What comes interactively is dispatched by whoever stores it; the scheduler finds what is left should it die.
    rows = connection.execute(statement, values).all() or connection.execute(statement, values).all()
    if rows[0].cap is not None:
        # As if none had been sent: those would have waited too, had there been no room.
        sent = sum(row.id is not None for row in rows)
        check_cap(connection, tenant, spec.num_images, rows[0].cap, stored=spec.num_images - sent)
    inputs.use(connection, job_id, digests(spec))
    if rows[0].has_quotas and asks is not None:
        # Last: the tenant's row is locked from here to the commit.
        quotas.take(connection, tenant, job_id, asks())
    return _stored(rows, spec, least)


def _statement(least: int | None) -> TextClause:
    return _HELD if least is None else _SENT


def _stored(rows: Rows, spec: RenderSpec, least: int | None) -> int | Picked:
    if least is None or not rows[0].mine:
        return int(rows[0].queue)
    stage = first_stage(spec)
    name = queue_name(stage, spec.model, spec.lane)
    picks = tuple(Pick(row.id, row.fence, row.suspect) for row in rows if row.id is not None)
    queue = Queue(rows[0].queue, name, stage, spec.model, spec.lane)
    return Picked(queue, picks, int(rows[0].workers), int(rows[0].capacity))


def _values(job_id: UUID, spec: RenderSpec, tenant: str, least: int | None, *, alone: bool) -> dict[str, Any]:
    """What a job, its picture and the place where its renders wait are stored from."""
    stage, picture = first_stage(spec), spec.picture()
    return record(job_id, spec, tenant, None) | {
        "name": queue_name(stage, spec.model, spec.lane),
        "stage": int(stage),
        "model": spec.model,
        "digest": digest(picture),
        "body": json.dumps(picture, ensure_ascii=False),
        "channel": CHANNEL_WORK,
        "alone": alone,
        **({} if least is None else {"least": least}),
    }
