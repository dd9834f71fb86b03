"""What enters Redis next: picks under a queue's lock, and what must be sent again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.records import Pick, Queue
from latentfarm.states import Lane, RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, RowMapping

    from latentfarm.fairness import Take

DOUBTFUL_S = 5.0
"""Age at which a message is sent again when a worker that may have taken it has ended."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a queue's window still takes.

    Attributes:
        workers: live incarnations that serve the queue.
        window: renders that may be dispatched at once.
        left: of these; 0 of a queue that is drained.
        capacity: bulk renders that the incarnations hold at once, as far as they have said.
    """

    workers: int
    window: int
    left: int
    capacity: int


_QUEUES = text("SELECT id, name, stage, model, lane, wait_s FROM queues ORDER BY id")

_WAITING = text("""
    SELECT id, name, stage, model, lane, wait_s FROM queues q
    WHERE EXISTS (SELECT FROM renders r WHERE r.queue_id = q.id AND r.state = 0) ORDER BY id
""")

# The class keeps this lock apart from other advisory locks of the farm. The limit is set first: one round trip.
_LOCK = text("SELECT set_config('lock_timeout', '2s', true), pg_advisory_xact_lock(4711, :queue)")

_COUNT = text("SELECT count(*) FROM renders WHERE queue_id = :queue AND state = :dispatched")

# Of a queue, for a statement that names it. What a worker has room for, it says once it is ready.
ROOM = """
    SELECT count(*) AS workers,
           coalesce(sum(GREATEST(:least, 2 * coalesce((info ->> 'capacity')::int, 0))), 0) AS window,
           coalesce(sum((info ->> 'capacity')::int), 0) AS capacity,
           (SELECT count(*) FROM renders WHERE queue_id = {queue} AND state = 1) AS dispatched,
           EXISTS (SELECT FROM queues WHERE id = {queue} AND drained_at IS NOT NULL) AS drained
    FROM workers
    WHERE ended_at IS NULL AND lease_until > now() AND :stage = ANY (stages) AND :model = ANY (assigned_models)
      AND NOT EXISTS (SELECT FROM drains d WHERE d.host = workers.host AND d.device = workers.device)
"""
_ROOM = text(ROOM.format(queue=":queue"))

# Of each job the lowest ordinals that are due: what comes back from a failure goes before what has not begun. The
# counters of jobs and tenants go along, locked in order as everywhere. Rows are named by arrays: a join would be planned
# for a tenth of all renders, since nobody knows a LIMIT beforehand, and read every job that there ever was. `IS TRUE`: as
# in `waiting`.
_TAKE = text("""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:jobs AS uuid[]), CAST(:counts AS int[])) AS w(job_id, n)),
    due AS MATERIALIZED (
        SELECT o.id FROM wanted AS w CROSS JOIN LATERAL (
            SELECT r.id FROM renders r
            WHERE r.queue_id = :queue AND uuid_hash(r.job_id) = uuid_hash(w.job_id) AND (r.job_id = w.job_id) IS TRUE
              AND r.state = 0 AND r.due_at <= now()
            ORDER BY r.ordinal LIMIT w.n FOR UPDATE SKIP LOCKED) AS o),
    picked AS (
        UPDATE renders r SET state = :dispatched, sent_at = now(), sends = 1
        WHERE r.id = ANY (ARRAY(SELECT id FROM due))
        RETURNING r.id, r.fence, r.suspect, r.job_id, r.ordinal),
    counts AS (SELECT job_id, count(*) AS n FROM picked GROUP BY job_id),
    locked AS (
        SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT job_id FROM counts)) ORDER BY id FOR UPDATE),
    counted AS (
        UPDATE jobs j SET queued = j.queued - (SELECT n FROM counts c WHERE c.job_id = j.id), picked_at = now()
        WHERE j.id = ANY (ARRAY(SELECT id FROM locked))
        RETURNING j.tenant, (SELECT n FROM counts c WHERE c.job_id = j.id) AS n),
    charged AS (
        INSERT INTO tenants (name, in_flight) SELECT tenant, sum(n) FROM counted GROUP BY tenant ORDER BY tenant
        ON CONFLICT (name) DO UPDATE SET in_flight = tenants.in_flight + excluded.in_flight)
    SELECT id, fence, suspect, job_id FROM picked ORDER BY job_id, ordinal
""")

# Which messages may be lost: older than the wait that is usual here, doubling with every repeat; after the end of an
# incarnation, older than what a worker needs to claim what it has taken.
_LOST = text("""
    WITH lost AS (
        SELECT id FROM renders
        WHERE queue_id = :queue AND state = :dispatched
          AND sent_at < now() - make_interval(secs => CASE sends WHEN 0 THEN LEAST(:after_s, :doubtful_s)
              ELSE LEAST(300, :after_s * power(2, LEAST(sends, 8) - 1)) END)
        ORDER BY sent_at LIMIT :room FOR UPDATE SKIP LOCKED)
    UPDATE renders r SET sent_at = now(), sends = LEAST(r.sends, 100) + 1
    FROM lost WHERE r.id = lost.id
    RETURNING r.id, r.fence, r.suspect
""")

# The hints that an incarnation had in memory went with it; nobody knows which they were. The length of the list does
# not tell either: its messages may hold one render or many. A second message of a suspect is not cheap: whoever takes
# it lets all else run out before looking, so there they only count as first ones again. One that was assigned other
# models had hints for those that it held.
_DOUBT = text("""
    UPDATE renders r SET sends = CASE WHEN r.suspect THEN 1 ELSE 0 END FROM queues q, workers w
    WHERE r.queue_id = q.id AND r.state = :dispatched AND r.sends > CASE WHEN r.suspect THEN 1 ELSE 0 END
      AND w.id = ANY (CAST(:workers AS bigint[])) AND q.stage = ANY (w.stages)
      AND q.model = ANY (w.assigned_models || w.loaded_models)
""")

_MEASURE = text("""
    UPDATE queues q SET wait_s = seen.wait_s
    FROM (SELECT queue_id, avg(waited_s) AS wait_s FROM attempts
          WHERE started_at > now() - interval '60 s' GROUP BY queue_id) AS seen
    WHERE q.id = seen.queue_id
""")


def queues(connection: Connection) -> list[Queue]:
    """All queues. There are as many as stages x models x lanes that were ever used."""
    return [_queue(row) for row in connection.execute(_QUEUES).mappings()]


def waiting_queues(connection: Connection) -> list[Queue]:
    """Those in which a render is queued. One statement: nothing else needs to be asked of a farm that rests."""
    return [_queue(row) for row in connection.execute(_WAITING).mappings()]


def _queue(row: RowMapping) -> Queue:
    return Queue(row["id"], row["name"], Stage(row["stage"]), row["model"], Lane(row["lane"]), row["wait_s"])


def lock_queue(connection: Connection, queue: int) -> None:
    """Lets one dispatcher at a time look at a queue, until the transaction ends.

    Waits 2 s at most; then PostgreSQL raises LockNotAvailable.
    """
    connection.execute(_LOCK, {"queue": queue})


def count_dispatched(connection: Connection, queue: int) -> int:
    """How many renders have a message out; the window, and rarely a little more."""
    parameters = {"queue": queue, "dispatched": int(RenderState.DISPATCHED)}
    return int(connection.execute(_COUNT, parameters).scalar_one())


def room(connection: Connection, queue: Queue, *, least: int) -> Room:
    """What live incarnations that serve the queue have room for.

    Args:
        least: of the window, for each of them; more where it can hold many, and for one while there is none.
    """
    values = {"queue": queue.id, "stage": int(queue.stage), "model": queue.model, "least": least}
    found = connection.execute(_ROOM, values).one()
    window = max(least, int(found.window))
    # Whoever asks for the latents that another queue may make asks for its window all the same.
    left = 0 if found.drained else window - int(found.dispatched)
    return Room(int(found.workers), window, left, int(found.capacity))


def take(connection: Connection, queue: int, takes: Sequence[Take]) -> dict[UUID, list[Pick]]:
    """Marks due renders of some jobs as dispatched, the lowest ordinals first.

    Returns:
        What was found, by job; less than was asked for where others hold renders, or a counter promised too much.
    """
    values = {"jobs": [one.job_id for one in takes], "counts": [one.count for one in takes]}
    states = {"queue": queue, "dispatched": int(RenderState.DISPATCHED)}
    found: dict[UUID, list[Pick]] = {one.job_id: [] for one in takes}
    for row in connection.execute(_TAKE, values | states):
        found[row.job_id].append(Pick(row.id, row.fence, row.suspect))
    return found


def take_lost(connection: Connection, queue: int, *, after_s: float, room: int) -> list[Pick]:
    """Dispatched renders whose message may be lost, oldest first; stamps them as sent now.

    Args:
        after_s: age of a first message; each repeat doubles it, up to 300 s. 0: all.
        room: at most so many.
    """
    parameters = {
        "queue": queue,
        "after_s": after_s,
        "doubtful_s": DOUBTFUL_S,
        "room": room,
        "dispatched": int(RenderState.DISPATCHED),
    }
    return [Pick(row.id, row.fence, row.suspect) for row in connection.execute(_LOST, parameters)]


def expect_losses(connection: Connection, workers: list[int]) -> None:
    """Lets messages of the queues that ended incarnations served count as lost once they are `DOUBTFUL_S` old.

    A window at most goes out twice; of each render one message is claimed.
    """
    connection.execute(_DOUBT, {"workers": workers, "dispatched": int(RenderState.DISPATCHED)})


def measure_waits(connection: Connection) -> None:
    """Writes into `queues` how long messages waited in the last minute."""
    connection.execute(_MEASURE)
