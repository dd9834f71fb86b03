"""What enters Redis next: picks under a queue's lock, and what must be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.records import Pick, Queue
from latentfarm.repository.settling import change_queued
from latentfarm.states import Lane, RenderState, Stage

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

DOUBTFUL_S = 5.0
"""Age at which a message is sent again when a worker that may have taken it has ended."""

_QUEUES = text("SELECT id, name, stage, model, lane, wait_s FROM queues ORDER BY id")

# The class keeps this lock apart from other advisory locks of the farm.
_LOCK = text("SELECT pg_advisory_xact_lock(4711, :queue)")

_COUNT = text("SELECT count(*) FROM renders WHERE queue_id = :queue AND state = :dispatched")

_WORKERS = text("""
    SELECT count(*) FROM workers
    WHERE ended_at IS NULL AND lease_until > now() AND :stage = ANY (stages) AND :model = ANY (assigned_models)
""")

_PICK = text("""
    WITH due AS (
        SELECT id FROM renders
        WHERE queue_id = :queue AND state = :queued AND due_at <= now()
        ORDER BY priority DESC, due_at, id LIMIT :room FOR UPDATE SKIP LOCKED)
    UPDATE renders r SET state = :dispatched, sent_at = now(), sends = 1
    FROM due WHERE r.id = due.id
    RETURNING r.id, r.fence, r.suspect, r.job_id
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
# it lets all else run out before looking, so there they only count as first ones again.
_DOUBT = text("""
    UPDATE renders r SET sends = CASE WHEN r.suspect THEN 1 ELSE 0 END FROM queues q, workers w
    WHERE r.queue_id = q.id AND r.state = :dispatched AND r.sends > CASE WHEN r.suspect THEN 1 ELSE 0 END
      AND w.id = ANY (CAST(:workers AS bigint[])) AND q.stage = ANY (w.stages) AND q.model = ANY (w.assigned_models)
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


def _queue(row: RowMapping) -> Queue:
    return Queue(row["id"], row["name"], Stage(row["stage"]), row["model"], Lane(row["lane"]), row["wait_s"])


def lock_queue(connection: Connection, queue: int) -> None:
    """Lets one dispatcher at a time look at a queue, until the transaction ends.

    Waits 2 s at most; then PostgreSQL raises LockNotAvailable.
    """
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    connection.execute(_LOCK, {"queue": queue})


def count_dispatched(connection: Connection, queue: int) -> int:
    """How many renders have a message out; never more than the window."""
    parameters = {"queue": queue, "dispatched": int(RenderState.DISPATCHED)}
    return int(connection.execute(_COUNT, parameters).scalar_one())


def count_workers(connection: Connection, queue: Queue) -> int:
    """Live incarnations that serve the queue."""
    parameters = {"stage": int(queue.stage), "model": queue.model}
    return int(connection.execute(_WORKERS, parameters).scalar_one())


def pick(connection: Connection, queue: int, room: int) -> list[Pick]:
    """Marks up to `room` due renders as dispatched: by priority, then the time at which they became due."""
    parameters = {
        "queue": queue,
        "room": room,
        "queued": int(RenderState.QUEUED),
        "dispatched": int(RenderState.DISPATCHED),
    }
    rows = connection.execute(_PICK, parameters).all()
    change_queued(connection, [row.job_id for row in rows], -1)
    return [Pick(row.id, row.fence, row.suspect) for row in sorted(rows, key=lambda row: int(row.id))]


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
