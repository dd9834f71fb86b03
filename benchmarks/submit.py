"""A hundred thousand renders into the farm, against COPY and against plain Celery: `python -m benchmarks submit`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.control_plane import loading, rows
from benchmarks.control_plane.command import run
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import commit_ms, machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, ratio, take_turns
from benchmarks.plain import running as plain
from benchmarks.plain import storing
from latentfarm.database import connect
from latentfarm.repository.facade import Repository

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    import psycopg

ASKED = (
    "Renders over HTTP, in validated jobs of 1,000, against raw COPY of the same rows into the same table in one"
    " transaction, and against a plain Celery loop that commits a row for each task and then calls apply_async."
)
SLOW_COMMIT_MS = 2.0
OVER_COPY, OVER_LOOP = 0.4, 40.0
SIZES = {
    "renders": (100_000, "of each round"),
    "tasks": (2_000, "of plain Celery, of each round"),
    "rounds": (5, "of all arms"),
}


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("submit", __doc__, argv, SIZES, measure)


@dataclass(slots=True)
class Arms:
    """Each gives rows per second; all begin with the same empty tables."""

    client: httpx.Client
    database: psycopg.Connection[Any]
    repository: Repository
    broker: str
    renders: int
    tasks: int

    def http(self) -> float:
        """What a client of the API does."""
        rows.empty(self.database)
        began = time.perf_counter()
        loading.submit(self.client, self.renders)
        return self.renders / (time.perf_counter() - began)

    def records(self) -> float:
        """The same jobs without HTTP and validation."""
        rows.empty(self.database)
        began = time.perf_counter()
        rows.fill(self.repository, self.renders)
        return self.renders / (time.perf_counter() - began)

    def copied(self) -> float:
        """The rows alone. They are written as text before the clock starts."""
        rows.empty(self.database)
        data = rows.lines(*rows.a_job(self.repository, self.database), self.renders)
        began = time.perf_counter()
        rows.copy(self.database, data)
        return self.renders / (time.perf_counter() - began)

    def loop(self) -> float:
        """A commit and a message for each."""
        spec = json.dumps(loading.spec(1))
        began = time.perf_counter()
        for _ in range(self.tasks):
            storing.submit(self.database, self.broker, spec)
        return self.tasks / (time.perf_counter() - began)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """All arms, on a farm without workers."""
    with (
        farm(folder / "farm", loading.settings(folder / "models"), workers=()) as running,
        running.connect() as database,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        storing.make_tables(database)
        broker = plain.broker_url(running.environment["LATENTFARM_REDIS_URL"])
        engine = connect(running.environment["LATENTFARM_DATABASE_URL"], pool=1, application="benchmark")
        arms = Arms(client, database, Repository(engine), broker, options.renders, options.tasks)
        found = take_turns(
            {"http": arms.http, "copy": arms.copied, "loop": arms.loop, "records": arms.records},
            options.rounds,
            warm=1,
        )
        engine.dispose()
        return outcome(found, commit_ms(database))


def outcome(found: dict[str, list[float]], commit: float) -> Outcome:
    """Figures and bounds. What 2 ms a commit would make of the loop follows by arithmetic."""
    result = Outcome("submit", ASKED, {"machine": machine(), "commit_ms": commit})
    result.figures["renders/s over HTTP"] = Spread.of(found["http"])
    result.figures["renders/s by the repository alone"] = Spread.of(found["records"])
    result.figures["rows/s by COPY"] = Spread.of(found["copy"])
    result.figures["tasks/s by the loop"] = Spread.of(found["loop"])
    result.least("HTTP / COPY", ratio(found["http"], found["copy"]), OVER_COPY)
    over = ratio(found["http"], found["loop"])
    if commit >= SLOW_COMMIT_MS:
        result.least("HTTP / loop", over, OVER_LOOP)
        return result
    more_ms = SLOW_COMMIT_MS - commit
    ours = [slower(rate, more_ms / loading.MOST) for rate in found["http"]]
    theirs = [slower(rate, more_ms) for rate in found["loop"]]
    result.figures["HTTP / loop"] = over
    result.figures[f"HTTP / loop, were a commit {SLOW_COMMIT_MS:g} ms"] = ratio(ours, theirs)
    result.notes.append(
        f"A commit takes {commit:.2f} ms here. HTTP / loop is held to {OVER_LOOP:g} where it takes {SLOW_COMMIT_MS:g} ms"
        " or more; the figure for that adds the difference to each task of the loop, and to each job of the farm."
    )
    return result


def slower(rate: float, more_ms: float) -> float:
    """How many a second, were each to take so many milliseconds more."""
    return 1000 / (1000 / rate + more_ms)
