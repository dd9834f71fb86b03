"""What a fair choice costs, and how fair it is: `python -m benchmarks fairness`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import text

from benchmarks.control_plane import sharing
from benchmarks.control_plane.command import run
from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread
from latentfarm.fairness import Credits, decide
from latentfarm.fairness.affinity import Affinity, Demand, Holder
from latentfarm.fairness.assigning import assign
from latentfarm.repository import charging, claiming, picking, waiting

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from latentfarm.records import Queue
    from latentfarm.repository.facade import Repository

ASKED = (
    "The look at the jobs that wait, the decision, the whole transaction that picks 24 renders up to its commit, and a worker's claim of"
    " them, over 1,000 to 1,000,000 queued renders of 1 to 1,000 jobs; and the GPU-seconds of two tenants of equal weight, one with 100,000"
    " queued and one that comes late with 1,000, whose renders cost another time. Real PostgreSQL; workers are rows, and"
    " their clock is moved by hand."
)
T = TypeVar("T")
SIZES = {"deepest": (1_000_000, "renders that wait at most"), "rounds": (41, "of each figure")}
SLOWER, APART = 1.25, 0.10
COSTS_S = {"early": 4, "late": 2}
LATE_AT_S = 60
OFTEN = 50
"""A decision is shorter than what else a processor does at its side."""


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("fairness", __doc__, argv, SIZES, measure)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """Costs over the grid, the shallowest once more, then the two tenants."""
    result = Outcome("fairness", ASKED, {"machine": machine()})
    with sharing.records(folder) as repository:
        deep = [1_000, 100_000, options.deepest] if options.deepest > 100_000 else [1_000, options.deepest]
        for jobs in (1, 1_000):
            found = {}
            costs(repository, jobs, max(1, deep[0] // jobs), options.rounds)  # warm
            for renders in deep:
                found[renders] = costs(repository, jobs, max(1, renders // jobs), options.rounds)
                result.figures[f"{renders:,} renders of {jobs:,} jobs"] = ", ".join(
                    f"{name} {spread.median:.2f} ms" for name, spread in found[renders].items()
                )
            again = costs(repository, jobs, max(1, deep[0] // jobs), options.rounds)
            for name in ("decide", "pick", "claim"):
                first = (found[deep[0]][name].low + again[name].low) / 2
                last = found[deep[-1]][name].low
                result.most(f"{name}, {jobs:,} jobs, deepest / shallowest", last / first, SLOWER)
        early, late = share(repository)
    result.figures["models assigned to 1,000 workers"] = assigned(options.rounds)
    result.figures["GPU-seconds while both had work"] = f"early {early:.0f}, late {late:.0f}"
    result.notes.append(
        "Figures are medians; ratios are of the smallest of all rounds, which others disturb least."
    )
    result.most("difference of GPU-seconds", abs(early - late) / late, APART)
    return result


def assigned(rounds: int) -> str:
    """Milliseconds of the decision over workers that hold one of eight models each, all of which have work."""
    names = [f"m{number}" for number in range(8)]
    holders = tuple(
        Holder(worker, tuple(names), (names[worker % 8],), slots=24, held_s=1e4) for worker in range(1_000)
    )
    found = {}
    for told, counts in (
        ("nothing to change", [9_000] * 8),
        ("one with 9 times the work", [*[9_000] * 7, 81_000]),
    ):
        view = Affinity(holders, tuple(Demand(name, n) for name, n in zip(names, counts, strict=True)))
        found[told] = Spread.of([timed(lambda view=view: assign(view))[1] for _ in range(rounds)])  # type: ignore[misc]
    return ", ".join(f"{told} {spread.median:.1f} ms" for told, spread in found.items())


def costs(repository: Repository, jobs: int, each: int, rounds: int) -> dict[str, Spread]:
    """Milliseconds of the look, the decision, the pick and the claim, each of 24 renders."""
    queue = sharing.fill(repository, jobs, each)
    worker = sharing.worker(repository, capacity=12)  # a window of 24
    found: dict[str, list[float]] = {"look": [], "decide": [], "pick": [], "claim": []}
    for _ in range(rounds):
        seen, look_ms = timed(lambda: repository.transact(lambda c: waiting.view(c, queue, 24)))
        _, often_ms = timed(lambda seen=seen: [decide(seen, Credits(24)) for _ in range(OFTEN)])  # type: ignore[misc]
        pick_ms, claim_ms = taken(repository, queue, worker)
        for name, ms in zip(found, (look_ms, often_ms / OFTEN, pick_ms, claim_ms), strict=True):
            found[name].append(ms)
    return {name: Spread.of(values) for name, values in found.items()}


def taken(repository: Repository, queue: Queue, worker: int) -> tuple[float, float]:
    """Milliseconds of a pick of 24 and of their claim, up to the commit.

    Both are taken back: a thousand jobs of one render would run out.
    """
    with repository.engine.connect() as connection:
        picked, pick_ms = timed(lambda: picking.fill(connection, queue, least=24))
        pairs = [(pick.render_id, pick.fence) for pick in picked.picks]
        claimed, claim_ms = timed(lambda: claiming.claim(connection, worker, pairs))
        connection.rollback()
    if len(claimed) != 24:
        raise RuntimeError(f"24 renders were to be claimed, and {len(claimed)} were")
    return pick_ms, claim_ms


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The answer, and the milliseconds that it took."""
    began = time.perf_counter()
    answer = work()
    return answer, 1000 * (time.perf_counter() - began)


def share(repository: Repository) -> tuple[float, float]:
    """GPU-seconds of the early and the late tenant, from the coming of the late one until nothing of it waits."""
    sharing.empty(repository)
    for _ in range(100):
        sharing.add(repository, 1_000, "early")
    (queue,) = [queue for queue in repository.queues() if queue.name == "base.tiny.bulk"]
    workers = sharing.Workers(repository, slots=12, cost_s=COSTS_S)
    workers.start(2)
    repository.transact(charging.charge)
    of_jobs = text("SELECT id, tenant FROM jobs")
    waits = text("SELECT count(*) FROM jobs WHERE waits AND tenant = 'late'")
    now, before = 0, {"early": 0.0}
    while now <= LATE_AT_S or repository.transact(lambda c: c.execute(waits).scalar_one()):
        if now == LATE_AT_S:
            before = workers.used()
            sharing.add(repository, 1_000, "late")
        tenants = {row.id: row.tenant for row in repository.transact(lambda c: c.execute(of_jobs).all())}
        workers.second(now, queue, tenants)
        now += 1
    used = workers.used()
    return used["early"] - before["early"], used["late"]
