"""A worker takes renders: one fenced UPDATE for any number of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK
from latentfarm.keys import image_key, latents_key
from latentfarm.records import Claimed, ObjectRef
from latentfarm.references import INPUT_FIELDS
from latentfarm.repository import checkpointing, inputs
from latentfarm.repository.settling import mark_started
from latentfarm.repository.yielding import leave_to_others
from latentfarm.states import JobState, Lane, RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from latentfarm.messages import Pair

# Locked in id order, so that two claims of the same message cannot wait for each other in a circle. A spec comes with the
# first render of it alone: those of a job share one, and to send and read it for each takes a tenth of a worker's time.
_CLAIM = text("""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence)),
    locked AS (
        SELECT r.id FROM renders r JOIN w ON w.id = r.id AND w.fence = r.fence
        WHERE r.state = :dispatched AND EXISTS (SELECT FROM workers WHERE id = :worker AND ended_at IS NULL)
        ORDER BY r.id FOR UPDATE OF r),
    taken AS (
        UPDATE renders r SET state = :running, fence = r.fence + 1, starts = r.starts + 1, owner = :worker
        FROM locked WHERE r.id = locked.id RETURNING r.*)
    SELECT t.id, t.fence, t.job_id, t.ordinal, t.stage, t.seed, t.suspect, t.tries, t.queue_id, t.spec_id, j.lane,
           CAST(EXTRACT(EPOCH FROM clock_timestamp() - t.sent_at) AS double precision) AS waited_s, j.state AS job_state,
           CASE WHEN t.id = min(t.id) OVER (PARTITION BY t.spec_id) THEN s.body END AS body
    FROM taken t JOIN specs s ON s.id = t.spec_id JOIN jobs j ON j.id = t.job_id ORDER BY t.id
""")

_LOOK = text("""
    SELECT r.id, r.fence FROM renders r
    JOIN unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence) ON w.id = r.id AND w.fence = r.fence
    WHERE r.state = :dispatched
""")

# In one round trip: the attempts, the objects to come, and that windows have room again, so that the scheduler fills
# them now rather than at its next round.
_OPEN = text("""
    WITH t AS (
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[]), CAST(:stages AS smallint[]),
                             CAST(:queues AS int[]), CAST(:waited AS real[]), CAST(:kinds AS text[]),
                             CAST(:keys AS text[]))
        AS t(id, fence, stage, queue, waited, kind, key)),
    opened AS (
        INSERT INTO attempts (render_id, fence, stage, queue_id, worker_id, waited_s)
        SELECT id, fence, stage, queue, :worker, waited FROM t),
    planned AS (
        INSERT INTO objects (render_id, fence, kind, state, key)
        SELECT id, fence, kind, 'planned', key FROM t WHERE kind <> 'shard')
    SELECT pg_notify(:channel, CAST(queue AS text)) FROM unnest(CAST(:told AS int[])) AS queue
""")

# Of a render's own base stage, or of the render that it refines.
_LATENTS = text("""
    SELECT DISTINCT ON (render_id) render_id, key, sha256, size FROM (
        SELECT render_id, fence, kind, state, key, sha256, size FROM objects
        WHERE render_id = ANY (CAST(:ids AS bigint[]))
        UNION ALL
        SELECT s.render_id, o.fence, o.kind, o.state, o.key, o.sha256, o.size FROM render_sources s
        JOIN objects o ON o.render_id = s.object_render AND o.fence = s.object_fence
        WHERE s.render_id = ANY (CAST(:ids AS bigint[]))) AS o
    WHERE kind = 'latents' AND state = 'visible'
    ORDER BY render_id, fence DESC
""")


def claim(
    connection: Connection, worker: int, pairs: Sequence[Pair], *, is_low: bool = True
) -> list[Claimed]:
    """Takes those of `pairs` (render id, fence) that are still dispatched under that fence.

    What failed on the worker's device before is left to another one, see `yielding`.

    Also opens an attempt for each and plans its object, so that a later upload needs no commit of its
    own before it. Refused as a whole when the incarnation has ended.

    Args:
        is_low: the worker has few bulk hints left, so that the scheduler is told at once that their queue has room. Told
            of each claim it would fill a window by one render at a time.
    """
    rows = connection.execute(
        _CLAIM,
        {
            "ids": [pair[0] for pair in pairs],
            "fences": [pair[1] for pair in pairs],
            "worker": worker,
            "dispatched": int(RenderState.DISPATCHED),
            "running": int(RenderState.RUNNING),
        },
    ).all()
    # Before any row is left to others: the spec came with the first that has it.
    bodies = {row.spec_id: row.body for row in rows if row.body is not None}
    rows = leave_to_others(connection, worker, rows)
    if not rows:
        return []
    latents = _latents(connection, [row.id for row in rows if row.stage == Stage.REFINE])
    pictures = _pictures(connection, bodies)
    # The first claim of all has nothing to go on from.
    states = checkpointing.newest(connection, [row.id for row in rows if row.fence > 1])
    claimed = [
        _claimed(row, bodies[row.spec_id], pictures[row.spec_id], latents.get(row.id), states.get(row.id))
        for row in rows
    ]
    told = {row.queue_id for row in rows if is_low or row.lane == Lane.INTERACTIVE}
    _open(connection, worker, rows, claimed, sorted(told))
    mark_started(connection, [row.job_id for row in rows if row.job_state == JobState.QUEUED])
    return claimed


def still_to_be_had(connection: Connection, pairs: Sequence[Pair]) -> set[Pair]:
    """Those of `pairs` (render id, fence) that are still dispatched under that fence. Locks nothing."""
    rows = connection.execute(
        _LOOK,
        {
            "ids": [pair[0] for pair in pairs],
            "fences": [pair[1] for pair in pairs],
            "dispatched": int(RenderState.DISPATCHED),
        },
    )
    return {(row.id, row.fence) for row in rows}


def _pictures(
    connection: Connection, bodies: Mapping[int, dict[str, Any]]
) -> dict[int, dict[bytes, ObjectRef]]:
    """For each stored spec the pictures that it starts from and that are still kept, by SHA-256."""
    named = {spec: _named(body) for spec, body in bodies.items()}
    kept = inputs.refs(connection, {sha256 for digests in named.values() for sha256 in digests})
    return {
        spec: {sha256: kept[sha256] for sha256 in digests if sha256 in kept}
        for spec, digests in named.items()
    }


def _named(picture: dict[str, Any]) -> list[bytes]:
    """SHA-256 of the pictures that a stored spec starts from."""
    texts = (picture.get(field) for field in INPUT_FIELDS)
    return [bytes.fromhex(text.removeprefix("sha256:")) for text in texts if text]


def _claimed(
    row: Row[tuple[object, ...]],
    picture: dict[str, Any],
    kept: dict[bytes, ObjectRef],
    latents: ObjectRef | None,
    checkpoint: ObjectRef | None,
) -> Claimed:
    stage = Stage(row.stage)
    if stage is Stage.SEAL:
        place = row.id, row.fence, row.job_id, row.ordinal
        return Claimed(*place, stage, Lane(row.lane), {}, 0, "", alone=row.suspect, spec_id=0)
    ends_here = stage is Stage.REFINE or picture["refiner"] is None
    return Claimed(
        render_id=row.id,
        fence=row.fence,
        job_id=row.job_id,
        ordinal=row.ordinal,
        stage=stage,
        lane=Lane(row.lane),
        picture=picture,
        seed=row.seed,
        key=image_key(row.id, row.fence, picture["output"]["format"])
        if ends_here
        else latents_key(row.id, row.fence),
        alone=row.suspect,
        spec_id=row.spec_id,
        latents=latents,
        inputs=kept,
        checkpoint=checkpoint,
    )


def _kind(claimed: Claimed) -> str:
    """Of the object to come. The files of a shard are none: they have one name, whoever makes them."""
    if claimed.stage is Stage.SEAL:
        return "shard"
    return "latents" if claimed.key.endswith(".safetensors") else "image"


def _latents(connection: Connection, ids: list[int]) -> dict[int, ObjectRef]:
    if not ids:
        return {}
    rows = connection.execute(_LATENTS, {"ids": ids}).all()
    return {row.render_id: ObjectRef(row.key, bytes(row.sha256), row.size) for row in rows}


def _open(
    connection: Connection,
    worker: int,
    rows: Sequence[Row[tuple[object, ...]]],
    claimed: Sequence[Claimed],
    told: Sequence[int],
) -> None:
    connection.execute(
        _OPEN,
        {
            "worker": worker,
            "channel": CHANNEL_WORK,
            "told": told,
            "ids": [row.id for row in rows],
            "fences": [row.fence for row in rows],
            "stages": [row.stage for row in rows],
            "queues": [row.queue_id for row in rows],
            "waited": [row.waited_s for row in rows],
            "kinds": [_kind(item) for item in claimed],
            "keys": [item.key for item in claimed],
        },
    )
