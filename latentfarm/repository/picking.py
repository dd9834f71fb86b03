"""A queue's window is filled: look at the jobs, decide, take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.fairness import Credits, decide
from latentfarm.fairness.limits import LATENTS_MOST, interactive_room, latents_room
from latentfarm.records import Picked, Queue
from latentfarm.repository import dispatching, waiting
from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from latentfarm.records import Pick
    from latentfarm.repository.dispatching import Room

LOOKS = 8
"""Most looks at the jobs for one window. A second one is needed where there were more jobs than a look shows."""

# Counted up to the limit, so that its cost has one too.
_LATENTS = text("""
    SELECT q.id, (SELECT count(*) FROM (
        SELECT FROM renders r WHERE r.queue_id = q.id AND r.state = 0 AND r.stage = 1 AND r.fence > 0
        LIMIT :most) AS latents) AS n
    FROM queues q WHERE q.stage = :refine AND q.model = :model AND q.lane = :lane
""")

_IN_FLIGHT = text("""
    SELECT (SELECT count(*) FROM renders WHERE queue_id = :queue AND state = 1)
         + (SELECT count(*) FROM renders r JOIN workers w ON w.id = r.owner
            WHERE r.state = 2 AND w.ended_at IS NULL AND r.queue_id = :queue) AS n
""")

_BULK_OWED = text("SELECT deficit_s FROM queues WHERE stage = :stage AND model = :model AND lane = 'bulk'")


def fill(connection: Connection, queue: Queue, *, least: int) -> Picked:
    """Takes renders out of the backlog while there is room in the queue's window, and commits nothing.

    Waits 2 s at most for another dispatcher; then PostgreSQL raises LockNotAvailable.

    Args:
        least: renders of the window for each worker, see `dispatching.room`.
    """
    dispatching.lock_queue(connection, queue.id)
    room = dispatching.room(connection, queue, least=least)
    left = _left(connection, queue, room) if room.left > 0 else 0
    latents = _latents(connection, queue, least) if left > 0 else None
    picks: list[Pick] = []
    for _ in range(LOOKS):
        if left <= 0:
            break
        seen = waiting.view(connection, queue, left)
        takes = decide(seen, Credits(left, latents))
        if not takes:
            break
        taken = dispatching.take(connection, queue.id, takes)
        new = [pick for found in taken.values() for pick in found]
        picks += new
        left -= len(new)
        if latents is not None:
            heavy = {job.job_id for job in seen.jobs if job.makes_latents}
            latents -= sum(len(found) for job, found in taken.items() if job in heavy)
        if not new or (len(new) == sum(one.count for one in takes) and not seen.is_cut):
            break
    return Picked(queue, tuple(picks), room.workers, room.capacity)


def _left(connection: Connection, queue: Queue, room: Room) -> int:
    """What of the room the queue's lane may use."""
    if queue.lane is not Lane.INTERACTIVE or room.capacity == 0:
        return room.left
    owed = connection.execute(_BULK_OWED, {"stage": int(queue.stage), "model": queue.model}).scalar()
    if not owed:
        return room.left
    in_flight = connection.execute(_IN_FLIGHT, {"queue": queue.id}).scalar_one()
    return interactive_room(
        room.left, in_flight=in_flight, capacity=room.capacity, bulk_owed_s=owed, workers=room.workers
    )


def _latents(connection: Connection, queue: Queue, least: int) -> int | None:
    """How many renders may begin that will leave latents; None: as many as there is room for."""
    if queue.stage is not Stage.BASE:
        return None
    values = {"refine": int(Stage.REFINE), "model": queue.model, "lane": queue.lane.value}
    found = connection.execute(_LATENTS, values | {"most": LATENTS_MOST}).first()
    if found is None:
        return None
    refine = Queue(found.id, "", Stage.REFINE, queue.model, queue.lane)
    room = dispatching.room(connection, refine, least=least)
    return latents_room(int(found.n), room.window, room.workers)
