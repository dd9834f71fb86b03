"""Whether a million renders that wait slow the farm down: `python -m benchmarks backlog`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from redis import Redis

from benchmarks.control_plane import loading, plans
from benchmarks.control_plane.command import run
from benchmarks.control_plane.depth import Depth, Keeper
from benchmarks.control_plane.probing import Prober
from benchmarks.measuring.curve import Curve
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from latentfarm.database import connect
from latentfarm.repository.facade import Repository

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

ASKED = (
    "A farm at work, without objects, while 1,000 to 1,000,000 renders are queued: renders per second, submits of one"
    " image over HTTP, the transaction of a claim up to its commit, and memory. Each is compared with the mean of what"
    " the same farm does with 1,000 before and after."
)
SIZES = {
    "deepest": (1_000_000, "renders that wait at most"),
    "seconds": (40.0, "of each look"),
    "rows": (64, "of the worker's bucket"),
}
SLOWER, LARGER = 1.25, 1.10
NOTE = (
    "A p99 says something where there are hundreds of values: the worker holds few renders, so that it claims often, and each"
    " figure says how many submits and claims it is made of."
)


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("backlog", __doc__, argv, SIZES, measure)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """1,000, ten times as many and so on, and 1,000 again."""
    settings = loading.settings(folder / "models", rows=options.rows)
    counts = [10**power for power in range(3, 10) if 10**power <= options.deepest]
    with (
        farm(folder / "farm", settings) as running,
        running.connect() as database,
        httpx.Client(base_url=running.url, timeout=60) as client,
        Redis.from_url(running.environment["LATENTFARM_REDIS_URL"]) as redis,
    ):
        engine = connect(running.environment["LATENTFARM_DATABASE_URL"], pool=2, application="benchmark")
        repository = Repository(engine)
        keeper = Keeper(repository, database, redis, Prober(client, database), running.pids, options.seconds)
        keeper.measure(counts[0])  # warm
        found = [keeper.measure(count) for count in counts]
        (queue,) = [one.id for one in repository.queues() if one.name == "base.tiny.bulk"]
        seen = plans.of(engine, queue)
        keeper.stop()
        again = keeper.measure(counts[0])
        keeper.stop()
        engine.dispose()
    if options.write:
        plans.write(seen, counts[-1])
    return outcome(found, again)


def outcome(found: list[Depth], again: Depth) -> Outcome:
    """Bounds of the deepest against the shallowest."""
    first, last = found[0], found[-1]
    result = Outcome("backlog", ASKED, {"machine": machine()})
    for depth in [*found, again]:
        memory = ", ".join(f"{name} {size:.0f}" for name, size in depth.rss_mib.items())
        name = f"{depth.count:,} queued{' again' if depth is again else ''}"
        result.figures[name] = (
            f"{depth.renders_s:.0f} renders/s, submit p99 {depth.submit_p99_ms:.1f} ms of"
            f" {depth.submits}, claim p50 {depth.claim_p50_ms:.1f} ms and p99 {depth.claim_p99_ms:.1f} ms of {depth.claims}, Redis {depth.redis_mib:.2f} MiB with {depth.messages} messages, MiB: {memory}"
        )
    rate = (first.renders_s + again.renders_s) / 2
    submit_ms = (first.submit_p99_ms + again.submit_p99_ms) / 2
    claim_ms = (first.claim_p99_ms + again.claim_p99_ms) / 2
    result.most("time per render, deepest / shallowest", rate / last.renders_s, SLOWER)
    result.most("submit p99, deepest / shallowest", last.submit_p99_ms / submit_ms, SLOWER)
    result.most("claim p99, deepest / shallowest", last.claim_p99_ms / claim_ms, SLOWER)
    for name, size in last.rss_mib.items():
        result.most(
            f"memory of {name.partition('-')[0]}, deepest / shallowest", size / first.rss_mib[name], LARGER
        )
    result.most("memory of Redis, deepest / shallowest", last.redis_mib / first.redis_mib, LARGER)
    result.notes.append(NOTE)
    result.curves += curves(found)
    return result


def curves(found: list[Depth]) -> list[Curve]:
    """Rate, and waits."""
    lines: dict[str, Sequence[tuple[float, float]]] = {
        "renders/s": [(depth.count, depth.renders_s) for depth in found]
    }
    waits: dict[str, Sequence[tuple[float, float]]] = {
        "submit p99": [(depth.count, depth.submit_p99_ms) for depth in found],
        "claim p99": [(depth.count, depth.claim_p99_ms) for depth in found],
    }
    x = "renders queued"
    return [
        Curve("backlog", "Rate over the backlog", x, "renders/s", lines, logarithmic=True),
        Curve("backlog-waits", "Waits over the backlog", x, "ms", waits, logarithmic=True),
    ]
