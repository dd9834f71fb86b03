"""A stage ends well: the object becomes visible, and the render moves on, in one transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.repository.settling import add_event, change_queued, lock_jobs
from latentfarm.repository.sharding import count_down, go_on, jobs_of
from latentfarm.repository.submitting import queue_id
from latentfarm.states import Lane, RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from latentfarm.messages import Pair
    from latentfarm.records import Done

# The fence: only the incarnation that holds the render under this very fence may go on.
_LOCK = text("""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence))
    SELECT r.id, r.fence, r.job_id, r.ordinal, r.queue_id, r.shard_id, r.stage FROM renders r
    JOIN w ON w.id = r.id AND w.fence = r.fence
    WHERE r.state = :running ORDER BY r.id FOR UPDATE OF r
""")

# What an earlier try of the same call has committed already: its object is visible under that fence.
_REPLAYED = text("""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence))
    SELECT o.render_id, o.fence FROM objects o JOIN w ON w.id = o.render_id AND w.fence = o.fence
    WHERE o.state = 'visible'
""")

_SUCCEED = text("""
    UPDATE renders SET state = :succeeded, owner = NULL, suspect = false WHERE id = ANY (CAST(:ids AS bigint[]))
""")

_REFINE_QUEUE = text("SELECT model, lane FROM queues WHERE id = :queue")

_HAND_OVER = text("""
    UPDATE renders SET state = :queued, stage = :refine, queue_id = :queue, fence = fence + 1, tries = 0,
                       owner = NULL, suspect = false, due_at = now()
    WHERE id = ANY (CAST(:ids AS bigint[]))
""")

# One document: an array of documents as texts would be escaped piece by piece.
_SHOW = text("""
    WITH d AS (
        SELECT * FROM jsonb_to_recordset(CAST(:done AS jsonb))
        AS d(id bigint, fence int, sha256 text, size bigint, notes jsonb, steps smallint)),
    shown AS (
        UPDATE objects o SET state = 'visible', sha256 = decode(d.sha256, 'hex'), size = d.size, notes = d.notes
        FROM d WHERE o.render_id = d.id AND o.fence = d.fence)
    UPDATE attempts a SET ended_at = now(), outcome = :outcome, steps = d.steps
    FROM d WHERE a.render_id = d.id AND a.fence = d.fence
""")


def finish(connection: Connection, done: Sequence[Done]) -> set[Pair]:
    """The last stage is done: `running -> succeeded`, the image becomes visible, jobs may end.

    Returns:
        The (render id, fence) pairs that were accepted, now or by an earlier try of the same call.
        The others were cancelled or superseded; their objects stay planned and are collected.
    """
    rows, accepted, fresh = _lock(connection, done)
    if fresh:
        ids = [item.render_id for item in fresh]
        connection.execute(_SUCCEED, {"ids": ids, "succeeded": int(RenderState.SUCCEEDED)})
        _show(connection, fresh, "succeeded")
        full = count_down(connection, rows)
        # The job of a dataset is left alone until a shard is full: every worker would wait for that one row.
        lanes = lock_jobs(connection, jobs_of(rows, full))
        _tell_images(connection, [row for row in rows if row.shard_id is None], lanes)
        go_on(connection, rows, full)
    return accepted


def hand_over(connection: Connection, done: Sequence[Done]) -> set[Pair]:
    """The base stage is done: its latents become visible **and** the refine stage is queued.

    Returns:
        The accepted pairs, as in `finish`.
    """
    rows, accepted, fresh = _lock(connection, done)
    by_queue: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_queue[row.queue_id].append(row.id)
    for base_queue, ids in by_queue.items():
        model, lane = connection.execute(_REFINE_QUEUE, {"queue": base_queue}).one()
        queue = queue_id(connection, Stage.REFINE, model, Lane(lane))
        values = {"queued": int(RenderState.QUEUED), "refine": int(Stage.REFINE), "queue": queue, "ids": ids}
        connection.execute(_HAND_OVER, values)
        notify(connection, CHANNEL_WORK, queue)
    if fresh:
        _show(connection, fresh, "handed_over")
        change_queued(connection, [row.job_id for row in rows], +1)
    return accepted


def _lock(
    connection: Connection, done: Sequence[Done]
) -> tuple[Sequence[Row[tuple[object, ...]]], set[Pair], list[Done]]:
    pairs = {"ids": [item.render_id for item in done], "fences": [item.fence for item in done]}
    rows = connection.execute(_LOCK, {**pairs, "running": int(RenderState.RUNNING)}).all()
    held = {(row.id, row.fence) for row in rows}
    accepted, fresh = set(held), [item for item in done if (item.render_id, item.fence) in held]
    if len(fresh) < len(done):
        accepted |= {(row.render_id, row.fence) for row in connection.execute(_REPLAYED, pairs)}
    return rows, accepted, fresh


def _show(connection: Connection, done: Sequence[Done], outcome: str) -> None:
    shown = [
        {
            "id": item.render_id,
            "fence": item.fence,
            "sha256": item.ref.sha256.hex(),
            "size": item.ref.size,
            "notes": item.notes,
            "steps": item.steps,
        }
        for item in done
    ]
    connection.execute(_SHOW, {"done": json.dumps(shown), "outcome": outcome})


def _tell_images(
    connection: Connection, rows: Sequence[Row[tuple[object, ...]]], lanes: Mapping[UUID, Lane]
) -> None:
    """One event per image of interactive jobs; bulk jobs would fill the outbox with them."""
    for row in rows:
        if lanes[row.job_id] is Lane.INTERACTIVE:
            add_event(connection, row.job_id, "image.succeeded", {"index": row.ordinal})
