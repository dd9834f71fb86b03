"""How soon a job is at work, in an idle farm and in a busy one: `python -m benchmarks latency`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx

from benchmarks.control_plane import loading
from benchmarks.control_plane.command import run
from benchmarks.control_plane.probing import Prober
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import commit_ms, machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, quantile
from benchmarks.plain import running as plain
from benchmarks.plain import storing

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

ASKED = (
    "From the transaction that stores a job to the one that claims it, in an idle farm, against a plain Celery app that"
    " commits a job's row before it publishes and a row for its start; by the clock of the same database, one job at a"
    " time, in turns. Then interactive images among bulk ones that keep every worker busy: how soon each takes its first step, and"
    " how many steps the samples of both lanes take in a second, against those of the bulk lane alone just before."
)
SIZES = {
    "jobs": (200, "of each arm, in the idle farm"),
    "bulk": (100_000, "renders that wait while interactive ones come"),
    "interactive": (60, "images among them"),
    "step": (0.2, "seconds of a step of the busy worker, for four images together"),
}
REST_S = 0.02
KEPT = 0.95
"""Of the steps that bulk work takes alone: what is left is its own, once interactive steps are taken off."""
BATCH = 4
"""Guided images in a step of the busy worker: its bucket has eight rows."""
FEW = 2
"""Steps of an interactive image."""
APART_S = 0.35
"""Between two interactive images: no multiple of a step."""
POOL = ("--pool", "solo")
WHY = (
    "Up to the claim the farm asks PostgreSQL 3 times (one statement stores a job, dispatches it under its queue's lock and"
    " against its window, and commits; BEGIN and the claim under a fence) and wakes 3 threads in 2 processes; plain Celery asks"
    " it twice and wakes 1. Both clocks stop in the statement that claims, before its commit; the farm's stopped one statement later"
    " until 2026-11-27, which was 0.5 to 1 ms of its figure. Medians of 150 jobs by the clocks of the processes: 4.3 ms in the statement that stores, of which 0.5"
    " are the commit; 0.4 until the thread that sends has its turn; 1.1 to send (2.8 when Celery wrote each message); 0.7 until"
    " the thread that claims has its turn; 3 in the claim. Each part takes several times as long as in a loop: between two jobs the"
    " processor forgets them, in both systems."
)


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("latency", __doc__, argv, SIZES, measure)


@dataclass(slots=True)
class Turns:
    """One job to the farm, one to plain Celery, each when the one before has ended."""

    prober: Prober
    broker: str
    jobs: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    accepted_ms: list[float] = field(default_factory=list)
    stored_ms: list[float] = field(default_factory=list)

    def take(self, *, counts: bool) -> None:
        """Both, once."""
        job, accepted_ms = self.prober.submit(lane="interactive")
        self.prober.wait(job)
        time.sleep(REST_S)
        database = self.prober.database
        began = time.perf_counter()
        row = storing.submit(database, self.broker, json.dumps(loading.spec(1)))
        stored_ms = 1000 * (time.perf_counter() - began)
        plain.wait_until(partial(storing.is_claimed, database, row))
        time.sleep(REST_S)
        if counts:
            self.jobs.append(job)
            self.rows.append(row)
            self.accepted_ms.append(accepted_ms)
            self.stored_ms.append(stored_ms)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """Idle, then busy."""
    result = Outcome("latency", ASKED, {"machine": machine()})
    _idle(result, folder, options)
    _busy(result, folder, options)
    return result


def _idle(result: Outcome, folder: Path, options: argparse.Namespace) -> None:
    with farm(folder / "idle", loading.settings(folder / "models")) as running, running.connect() as database:
        broker = plain.broker_url(running.environment["LATENTFARM_REDIS_URL"])
        where = storing.url(running.environment["LATENTFARM_DATABASE_URL"])
        storing.make_tables(database)
        with (
            plain.worker({"PLAIN_BROKER": broker, "PLAIN_DATABASE": where}, POOL),
            httpx.Client(base_url=running.url, timeout=60) as client,
        ):
            taken = Turns(Prober(client, database), broker)
            for number in range(-10, options.jobs):  # the first ones prepare statements and connections
                taken.take(counts=number >= 0)
            ours, theirs = taken.prober.claims_ms(taken.jobs), storing.waits_ms(database, taken.rows)
        result.figures["commit_ms"] = commit_ms(database)
    result.figures["ms to the claim, farm"] = _told(ours)
    result.figures["ms to the claim, plain Celery"] = _told(theirs)
    result.notes.append(WHY)
    result.figures["ms until the API has accepted a job"] = _told(taken.accepted_ms)
    result.figures["ms until the plain app has published one"] = _told(taken.stored_ms)
    result.most("idle, p50 / p50 of plain Celery", quantile(ours, 0.5) / quantile(theirs, 0.5), 1.5)
    result.most("idle, p99 / p99 of plain Celery", quantile(ours, 0.99) / quantile(theirs, 0.99), 2.0)


def _busy(result: Outcome, folder: Path, options: argparse.Namespace) -> None:
    settings = loading.settings(folder / "busy-models", step_s=options.step, batch=BATCH)
    with (
        farm(folder / "busy", settings) as running,
        running.connect() as database,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        loading.submit(client, options.bulk)
        prober = Prober(client, database)
        busy = "SELECT FROM renders WHERE state = 2 HAVING count(*) >= 8"
        plain.wait_until(lambda: database.execute(busy).fetchone() is not None)
        looks = [prober.steps()]
        time.sleep(APART_S * options.interactive)
        looks.append(prober.steps())
        jobs = []
        for _ in range(options.interactive):
            jobs.append(prober.submit(lane="interactive", num_inference_steps=FEW)[0])
            time.sleep(APART_S)
        looks.append(prober.steps())
        for job in jobs:
            prober.wait(job)
        # The end of the first step is what a row tells of; it began a step before.
        begun_s = [ended_s - options.step for ended_s in prober.first_steps_s(jobs)]
    result.figures["bulk renders that wait"] = options.bulk
    result.figures["s until an interactive image's first step begins"] = Spread.of(begun_s)
    result.figures["s that a step takes"] = options.step
    result.most("busy, p99 of s until the first step", quantile(begun_s, 0.99), options.step + 1.0)
    alone, both = ((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairwise(looks))
    result.figures["steps/s of the bulk lane alone"] = alone
    result.figures["steps/s of both lanes"] = both
    result.figures["steps of interactive images in that time"] = FEW * options.interactive
    result.least("busy, steps/s of both lanes / of bulk alone", both / alone, KEPT)


def _told(values: list[float]) -> str:
    return ", ".join(f"p{round(100 * share)} {quantile(values, share):.3g}" for share in (0.5, 0.9, 0.99))
