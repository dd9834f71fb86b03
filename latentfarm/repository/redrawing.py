"""Images that the packer of a shard finds wanting go back to their queue with another seed, and the shard waits for them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.redraws import SEED_STEP
from latentfarm.repository.settling import change_queued
from latentfarm.spec import SEED_RANGE
from latentfarm.states import RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from latentfarm.messages import Pair
    from latentfarm.redraws import Redraw, Wanting

    Render = Row[tuple[object, ...]]

# The packers' renders and the images' in one statement: all locks of renders are taken in the order of ids.
_LOCK = text("""
    SELECT id, fence, state, shard_id FROM renders WHERE id = ANY (CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE
""")

_LOCK_FULL = text("""
    SELECT id FROM shards WHERE id = ANY (CAST(:ids AS bigint[])) AND state = 'full' ORDER BY id FOR UPDATE
""")

# Whoever cancels marks the job first, and then looks for live renders: what went back after that look would stay.
_LOCK_JOBS = text("""
    SELECT id FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND cancelled_at IS NULL ORDER BY id FOR UPDATE
""")

# As a packer's render ends whose shard was opened meanwhile: it is taken again when the shard is full again.
_CLOSE = text("""
    WITH d AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS d(id, fence)),
    done AS (
        UPDATE renders r SET state = :succeeded, owner = NULL, suspect = false FROM d WHERE r.id = d.id)
    UPDATE attempts a SET ended_at = now(), outcome = 'released', steps = 0
    FROM d WHERE a.render_id = d.id AND a.fence = d.fence
""")

_OPEN = text("""
    UPDATE shards SET state = 'open', remaining = remaining + :n, redrawn = redrawn + :n WHERE id = :id
""")

# All parts see the rows as they were. Nobody may go on from what was made with the seed before.
_AGAIN = text("""
    WITH w AS (SELECT * FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS w(render_id bigint, reasons text[])),
    told AS (
        INSERT INTO redraws (render_id, number, seed, fence, reasons)
        SELECT r.id, 1 + (SELECT count(*) FROM redraws d WHERE d.render_id = r.id), r.seed, r.fence + 1, w.reasons
        FROM w JOIN renders r ON r.id = w.render_id),
    hidden AS (
        UPDATE objects o SET state = 'going' FROM w WHERE o.render_id = w.render_id AND o.state = 'visible'),
    withdrawn AS (
        UPDATE checkpoints c SET state = 'planned' FROM w WHERE c.render_id = w.render_id AND c.state = 'visible')
    UPDATE renders r SET state = :queued, stage = :base, seed = (r.seed + :step) % :range, fence = r.fence + 1,
        tries = 0, starts = 0, sends = 0, suspect = false, owner = NULL, due_at = now(), queue_id = (
            SELECT b.id FROM queues q JOIN queues b ON b.model = q.model AND b.lane = q.lane AND b.stage = :base
            WHERE q.id = r.queue_id)
    FROM w WHERE r.id = w.render_id RETURNING r.queue_id
""")


def redraw(connection: Connection, wanted: Sequence[Redraw]) -> set[Pair]:
    """Gives the claims of packers back, uncharged, and queues the images that they found wanting.

    A shard that was opened meanwhile is left as it is, since it is packed anew anyway; and so is that of a job which
    was cancelled.

    Returns:
        The (render id, fence) pairs of the packers that were still held; of the others nothing was changed.
    """
    ids = {one.render_id for one in wanted} | {image.render_id for one in wanted for image in one.images}
    rows: dict[int, Render] = {row.id: row for row in connection.execute(_LOCK, {"ids": sorted(ids)})}
    held = [one for one in wanted if _holds(rows.get(one.render_id), one.fence)]
    if not held:
        return set()
    pairs = {"ids": [one.render_id for one in held], "fences": [one.fence for one in held]}
    connection.execute(_CLOSE, {**pairs, "succeeded": int(RenderState.SUCCEEDED)})
    full = set(connection.execute(_LOCK_FULL, {"ids": [one.shard_id for one in held]}).scalars())
    jobs = set(connection.execute(_LOCK_JOBS, {"ids": [one.dataset_id for one in held]}).scalars())
    for one in held:
        images = [image for image in one.images if _is_packable(rows.get(image.render_id), one.shard_id)]
        if one.shard_id in full and one.dataset_id in jobs and images:
            _again(connection, one.dataset_id, one.shard_id, images)
    return {(one.render_id, one.fence) for one in held}


def _again(connection: Connection, job: UUID, shard: int, images: Sequence[Wanting]) -> None:
    connection.execute(_OPEN, {"id": shard, "n": len(images)})
    values: Mapping[str, object] = {
        "wanted": json.dumps([dataclasses.asdict(image) for image in images]),
        "queued": int(RenderState.QUEUED),
        "base": int(Stage.BASE),
        "step": SEED_STEP,
        "range": SEED_RANGE,
    }
    queues = set(connection.execute(_AGAIN, values).scalars())
    change_queued(connection, [job] * len(images), +1)
    for queue in sorted(queues):
        notify(connection, CHANNEL_WORK, queue)


def _holds(row: Render | None, fence: int) -> bool:
    return row is not None and row.state == RenderState.RUNNING and row.fence == fence


def _is_packable(row: Render | None, shard: int) -> bool:
    return row is not None and row.state == RenderState.SUCCEEDED and row.shard_id == shard
