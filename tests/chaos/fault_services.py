"""Faults of the three services, and messages that come twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psycopg
import redis

from latentfarm.broker import Broker
from latentfarm.errors import ServiceUnavailable
from latentfarm.records import Pick
from tests.chaos.roster import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.place import Place

    Note = Callable[..., None]

_OUT = """
    SELECT r.id, r.fence, r.state, q.name FROM renders r JOIN queues q ON q.id = r.queue_id
    WHERE r.state IN (1, 2) ORDER BY r.id
"""
COPIES = 8


def redis_kill(place: Place, _rng: Random, note: Note) -> None:
    """Kill -9; it comes back with what its append-only file had."""
    place.keeper("redis").send(signal.SIGKILL)
    note()
    place.keeper("redis").wait_ready(30)


def redis_flush(place: Place, _rng: Random, note: Note) -> None:
    """FLUSHALL."""
    with place.redis() as client:
        try:
            client.flushall()
        except redis.RedisError as error:
            raise Skipped("Redis was away") from error
    note()


def postgres_stop(place: Place, _rng: Random, note: Note) -> None:
    """An immediate stop: every session is cut, and the start replays the log."""
    place.keeper("postgres").send(signal.SIGQUIT)
    note()
    place.keeper("postgres").wait_ready(60)


def s3_kill(place: Place, _rng: Random, note: Note) -> None:
    """Kill -9 of the object store."""
    place.keeper("s3").send(signal.SIGKILL)
    note()
    place.keeper("s3").wait_ready(60)


def duplicate(place: Place, rng: Random, note: Note) -> None:
    """Messages that are out come a second time, and so do those whose renders are running."""
    broker = Broker(place.redis_url)
    try:
        rows = place.rows(_OUT)
        chosen = rng.sample(rows, min(COPIES, len(rows)))
        for row in chosen:
            # Of a running one: the message that it was claimed by, or one that nobody sent.
            fence = row["fence"] - (rng.randrange(2) if row["state"] == 2 else 0)
            for _ in range(2):
                broker.send(row["name"], [Pick(row["id"], fence, False)], chunk=1)
    except (ServiceUnavailable, psycopg.OperationalError) as error:
        raise Skipped(f"no service to send through: {error}") from error
    finally:
        broker.close()
    note(renders=len(chosen))
