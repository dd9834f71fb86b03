"""Renders that take no time, through all states, against tasks that do nothing: `python -m benchmarks control`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from redis import Redis

from benchmarks.control_plane import loading
from benchmarks.control_plane.command import run
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import commit_ms, machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.processor import seconds_of
from benchmarks.measuring.turns import Spread, ratio, take_turns
from benchmarks.plain import running as plain
from benchmarks.plain.handing_in import hand_in

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    import psycopg

    from benchmarks.measuring.farm import Running

ASKED = (
    "Renders without objects (an engine that does no work; no image file is made, nothing is put) through all states and"
    " durable, against plain Celery tasks that do nothing and are acknowledged late. One worker process each, on the same machine and the"
    " same Redis server; both are handed in and worked off in the measured time."
)
LEAST, GOAL = 3.0, 5.0
WHY = (
    "Of the interpreter's time in the worker, sampled, a third went to reading messages (half of that since they carry 24 renders),"
    " a third to SQL (claims and ends in about equal parts), a sixth to the futures that hand results from thread to thread, the rest"
    " to the engine that does nothing and to orders. Claims have a connection of their own beside the committer's, so that"
    " PostgreSQL works at both at once."
)
POOL = ("--pool", "solo")
"""The fastest one for tasks that do nothing: two preforked processes do 0.6 to 1.1 times as many on two cores, four
threads 0.9 times; prefetching 64 in place of 8 messages changes nothing."""


SIZES = {
    "renders": (10_000, "of each round"),
    "tasks": (3_000, "of plain Celery, of each round"),
    # One round says 2.6 to 4.1 where the median says 3.3: the processor of a rented machine is not always whole.
    "rounds": (7, "of all arms"),
    "rows": (256, "renders that the worker holds at once"),
}


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("control", __doc__, argv, SIZES, measure)


@dataclass(slots=True)
class Arms:
    """Both systems, and what each measures. Rates are in renders, or tasks, per second."""

    farm: Running
    client: httpx.Client
    database: psycopg.Connection[Any]
    redis: Redis
    broker: str
    renders: int
    tasks: int
    used_ms: dict[str, float] = field(default_factory=dict)
    """Processor time of each part of the farm for one render of one stage, in the last round."""
    plain_ms: dict[str, float] = field(default_factory=dict)
    """The same of plain Celery, for one task."""

    def base(self) -> float:
        """Renders of one stage."""
        before = seconds_of(self.farm.pids)
        rate = loading.rate(self.client, self.database, self.renders)
        after = seconds_of(self.farm.pids)
        self.used_ms = {name: 1000 * (after[name] - before[name]) / self.renders for name in before}
        return rate

    def both(self) -> float:
        """Renders that a refiner takes over: twice as many claims, commits and messages."""
        return loading.rate(self.client, self.database, self.renders, **loading.BOTH)

    def celery(self) -> float:
        """Tasks, from the first call that hands in to the last that is acknowledged."""
        with plain.worker({"PLAIN_BROKER": self.broker}, POOL) as pid:
            hand_in(self.broker, 1)
            plain.wait_until(self._done)
            pids = {"worker": pid, "redis": self.farm.pids["redis"]}
            before, own, began = seconds_of(pids), time.process_time(), time.perf_counter()
            hand_in(self.broker, self.tasks)
            plain.wait_until(self._done)
            rate = self.tasks / (time.perf_counter() - began)
            after = seconds_of(pids)
            took_ms = {name: 1000 * (after[name] - before[name]) / self.tasks for name in pids}
            self.plain_ms = took_ms | {"producer": 1000 * (time.process_time() - own) / self.tasks}
            return rate

    def waiting_celery(self) -> float:
        """Tasks that lie in Redis before the worker starts to take them: handing in takes nothing from it."""
        hand_in(self.broker, self.tasks)
        with plain.worker({"PLAIN_BROKER": self.broker}, POOL):
            plain.wait_until(lambda: plain.left(self.redis) < self.tasks)
            began, first = time.perf_counter(), plain.left(self.redis)
            plain.wait_until(self._done)
            return first / (time.perf_counter() - began)

    def _done(self) -> bool:
        return not plain.left(self.redis)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """All arms, and what the farm's processes took for it."""
    settings = loading.settings(folder / "models", rows=options.rows)
    with farm(folder / "farm", settings) as running, running.connect() as database:
        broker = plain.broker_url(running.environment["LATENTFARM_REDIS_URL"])
        with httpx.Client(base_url=running.url, timeout=60) as client, Redis.from_url(broker) as redis:
            arms = Arms(running, client, database, redis, broker, options.renders, options.tasks)
            arms.base()  # the first claims of a worker prepare their statements
            found = take_turns(
                {
                    "base": arms.base,
                    "celery": arms.celery,
                    "both": arms.both,
                    "waiting celery": arms.waiting_celery,
                },
                options.rounds,
            )
            told = {"machine": machine(), "commit_ms": commit_ms(database)}
            told["processor ms per render of one stage"] = arms.used_ms | {"all": sum(arms.used_ms.values())}
            told["processor ms per task of plain Celery"] = arms.plain_ms | {
                "all": sum(arms.plain_ms.values())
            }
            return outcome(found, told, options)


def outcome(found: dict[str, list[float]], told: dict[str, Any], options: argparse.Namespace) -> Outcome:
    """Figures, bounds, and what they leave open."""
    result = Outcome("control", ASKED, told)
    names = {
        "base": "renders of one stage/s",
        "both": "renders of two stages/s",
        "celery": "plain Celery, handed in and worked off, tasks/s",
        "waiting celery": "plain Celery, worked off alone, tasks/s",
    }
    result.figures |= {names[name]: Spread.of(rates) for name, rates in found.items()}
    result.figures["renders that the worker holds at once"] = options.rows
    result.least("renders / tasks", ratio(found["base"], found["celery"]), LEAST)
    result.figures["the same against tasks that are worked off alone"] = ratio(
        found["base"], found["waiting celery"]
    )
    result.figures["the same for renders of two stages"] = ratio(found["both"], found["celery"])
    result.figures["stages / tasks, for renders of two"] = ratio(
        [2 * rate for rate in found["both"]], found["celery"]
    )
    result.figures["goal"] = GOAL
    result.notes.append(WHY)
    return result
