"""Renders whose image was found missing or altered are queued again, and their job is open again."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.records import ObjectRef
from latentfarm.repository.leftovers import touch
from latentfarm.repository.settling import add_event, lock_jobs
from latentfarm.repository.sharding import reopen
from latentfarm.repository.submitting import queue_id
from latentfarm.states import JobState, Lane, RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

# Latents of its own, or those that it was refined from.
_LOOK = text("""
    SELECT r.id, s.body, f.render_id IS NOT NULL AS refined, o.render_id, o.fence, o.key, o.sha256, o.size
    FROM renders r JOIN specs s ON s.id = r.spec_id LEFT JOIN render_sources f ON f.render_id = r.id
    LEFT JOIN LATERAL (
        SELECT * FROM objects l WHERE l.kind = 'latents' AND l.state = 'visible'
          AND (l.render_id = r.id OR l.render_id = f.object_render AND l.fence = f.object_fence)
        ORDER BY l.render_id = r.id DESC, l.fence DESC LIMIT 1) AS o ON true
    WHERE r.id = ANY (CAST(:ids AS bigint[])) ORDER BY r.id
""")

_LOCK = text("""
    SELECT id FROM renders WHERE id = ANY (CAST(:ids AS bigint[])) AND job_id = :job AND state = :succeeded
    ORDER BY id FOR UPDATE
""")

_SEALED = text("""
    WITH locked AS (
        SELECT s.id, s.state FROM shards s
        WHERE s.id IN (SELECT r.shard_id FROM renders r WHERE r.id = ANY (CAST(:ids AS bigint[])))
        ORDER BY s.id FOR UPDATE)
    SELECT r.id FROM renders r JOIN locked l ON l.id = r.shard_id
    WHERE r.id = ANY (CAST(:ids AS bigint[])) AND l.state = 'sealed'
""")

_SHOWN = text("""
    SELECT render_id, fence FROM objects
    WHERE render_id = ANY (CAST(:ids AS bigint[])) AND kind = 'image' AND state = 'visible'
""")

# Shared, as refining holds them: the sweep must not take them before the job is seen to be open.
_HOLD = text("""
    SELECT o.render_id, o.fence FROM objects o
    JOIN unnest(CAST(:renders AS bigint[]), CAST(:fences AS int[])) AS w(id, fence)
      ON w.id = o.render_id AND w.fence = o.fence
    WHERE o.state = 'visible' ORDER BY o.render_id, o.fence FOR SHARE OF o
""")

_QUEUE_AGAIN = text("""
    UPDATE renders SET state = :queued, stage = :stage, queue_id = :queue, fence = fence + 1, tries = 0, starts = 0,
                       sends = 0, suspect = false, owner = NULL, due_at = now()
    WHERE id = ANY (CAST(:ids AS bigint[]))
""")

_HIDE = text("""
    UPDATE objects SET state = 'going' WHERE render_id = ANY (CAST(:ids AS bigint[])) AND state = 'visible'
      AND kind = ANY (CAST(:kinds AS text[]))
""")

_OPEN = text("""
    UPDATE jobs SET remaining = CASE WHEN :in_shards THEN 1 ELSE remaining + :n END, queued = queued + :n, state = :running, finished_at = NULL,
                    latents_kept = true, results_gone_at = NULL, clear_from = NULL
    WHERE id = :job
""")

_JOB = text("""
    SELECT lane, cancelled_at IS NOT NULL OR results_gone_at IS NOT NULL AS over FROM jobs WHERE id = :job
""")

_SHARDS = text("""
    SELECT shard_id FROM renders WHERE id = ANY (CAST(:ids AS bigint[])) AND shard_id IS NOT NULL
""")

_FORGET_LATENTS = text("""
    UPDATE objects SET state = 'going' WHERE render_id = :render AND fence = :fence AND kind = 'latents'
      AND state = 'visible'
""")


@dataclass(frozen=True, slots=True)
class Lost:
    """A render whose image is lost, and what there is to make it from again.

    Attributes:
        picture: the stored part of the spec.
        refined: whether it was made from what another render had left.
        latents: what the refiner would start from, and `held`, the row of it.
    """

    render_id: int
    picture: dict[str, Any]
    refined: bool
    latents: ObjectRef | None
    held: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Again:
    """A render to be queued again.

    Attributes:
        shown: fence of the image that was found broken; None when there was no row of one.
        held: row of the latents that it starts from; only for the refine stage.
    """

    render_id: int
    shown: int | None
    stage: Stage
    held: tuple[int, int] | None = None


def look(connection: Connection, ids: Sequence[int]) -> list[Lost]:
    """What there is to repair some renders with."""
    return [
        Lost(
            render_id=row[0],
            picture=row.body,
            refined=row.refined,
            latents=ObjectRef(row.key, bytes(row.sha256), row.size) if row.key else None,
            held=(row[3], row.fence) if row.key else None,
        )
        for row in connection.execute(_LOOK, {"ids": list(ids)})
    ]


def repair(connection: Connection, job_id: UUID, wanted: Sequence[Again]) -> set[int]:
    """Queues renders again, unless somebody has done so: only under the very image that was found broken.

    That image is no longer visible, and the collector deletes what there is of it. The job ends anew, by
    the usual path. A job that was cancelled stays as it is, since its renders would be cancelled at once, and so does one
    whose images are kept no longer.

    Returns:
        The renders that were queued.
    """
    again = _still_lost(connection, job_id, wanted)
    job = connection.execute(_JOB, {"job": job_id}).one()
    if not again or job.over:
        return set()
    pictures = {item.render_id: item.picture for item in look(connection, [one.render_id for one in again])}
    by_queue: dict[tuple[Stage, str], list[int]] = defaultdict(list)
    for item in again:
        by_queue[item.stage, str(pictures[item.render_id]["model"])].append(item.render_id)
    for (stage, model), ids in sorted(by_queue.items()):
        queue_again(connection, ids, stage, queue_id(connection, stage, model, Lane(job.lane)))
    ids = [item.render_id for item in again]
    shards = Counter(connection.execute(_SHARDS, {"ids": ids}).scalars())
    if shards:
        reopen(connection, job_id, shards)
    lock_jobs(connection, [job_id])
    running = JobState.RUNNING.value
    # The job of a dataset waits for its top alone.
    values = {"job": job_id, "n": len(again), "in_shards": bool(shards), "running": running}
    connection.execute(_OPEN, values)
    add_event(connection, job_id, "job.repairing", {"state": running, "images": len(again)})
    return {item.render_id for item in again}


def queue_again(connection: Connection, ids: list[int], stage: Stage, queue: int) -> None:
    """Puts renders back into a queue with a higher fence, all tries before them, and hides what they had."""
    values = {"ids": ids, "stage": int(stage), "queue": queue, "queued": int(RenderState.QUEUED)}
    connection.execute(_QUEUE_AGAIN, values)
    # Latents that could not be used go with the image; the base stage makes new ones.
    kinds = ["image", "latents"] if stage is Stage.BASE else ["image"]
    connection.execute(_HIDE, {"ids": ids, "kinds": kinds})
    notify(connection, CHANNEL_WORK, queue)


def _still_lost(connection: Connection, job_id: UUID, wanted: Sequence[Again]) -> list[Again]:
    """Those that are as they were found, locked."""
    ids = [item.render_id for item in wanted]
    values = {"ids": ids, "job": job_id, "succeeded": int(RenderState.SUCCEEDED)}
    ended = set(connection.execute(_LOCK, values).scalars())
    touch(connection, job_id)
    # What is sealed meanwhile needs the image no longer.
    ended -= set(connection.execute(_SEALED, {"ids": ids}).scalars())
    shown = {row.render_id: row.fence for row in connection.execute(_SHOWN, {"ids": ids})}
    kept = hold(connection, [item.held for item in wanted if item.held is not None])
    return [
        item
        for item in wanted
        if item.render_id in ended
        and shown.get(item.render_id) == item.shown
        and (item.held is None or item.held in kept)
    ]


def hold(connection: Connection, held: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Locks rows of latents, so that no sweep takes them before the transaction ends; those that are still kept."""
    pairs = {"renders": [render for render, _ in held], "fences": [fence for _, fence in held]}
    return {(row.render_id, row.fence) for row in connection.execute(_HOLD, pairs)}


def forget_latents(connection: Connection, render_id: int, fence: int) -> bool:
    """Latents that are gone or altered are kept no longer; whoever needs them makes new ones."""
    return connection.execute(_FORGET_LATENTS, {"render": render_id, "fence": fence}).rowcount > 0
