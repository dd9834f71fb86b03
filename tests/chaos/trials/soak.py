"""20,000 renders with a fault a minute: does anything grow.

What is sampled is in samples.jsonl in the folder; growth.py says what counts as growth.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.faults import KINDS, Fault
from tests.chaos.place import until
from tests.chaos.profile import Profile
from tests.chaos.run import say
from tests.chaos.storm import Storm
from tests.chaos.trials import feed, flatness, growth
from tests.chaos.trials.census import EVERY_S as EVERY_LOOK_S
from tests.chaos.trials.census import Census
from tests.chaos.trials.findings import Findings
from tests.chaos.trials.ground import ground

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.plan import Submission
    from tests.chaos.trials.census import Sample
    from tests.chaos.trials.ground import Source
    from tests.chaos.world import World

RENDERS = 20_000
EVERY_S = 60.0
LONGEST_S = 3 * 3600.0
ROW_MS = 16
"""Of each step, for each render in it: some 14 renders in a second, so that it takes long enough for faults."""
LEAST_OPEN = 128
REFINED = 0.25
"""Share of jobs that go through both stages."""
MIB_PER_THOUSAND = 1.0
INJECTED = 0.8
"""Least share of the faults that were due: some find nothing to hit."""
ROLES = ("api", "scheduler", "worker", "child", "redis", "postgres", "session", "s3")
TABLES = 10
STORE_MIB = 640.0
"""Twice what the store has in use, and the files that it maps; see store.py."""
PROFILE = Profile("soak", 0, 0, window_s=0.0, calm_s=300.0, collect_after_s=60.0)

_DONE = "SELECT count(*) AS n FROM renders WHERE state > 2"


def run(folder: Path, seed: int, *, renders: int = RENDERS, every_s: float = EVERY_S) -> Findings:
    """Until so many renders have ended; then calm, then the judges."""
    stopping = threading.Event()
    with ground(folder, PROFILE, _source(seed)) as found:
        began = time.monotonic()
        storm = Storm(found.world, _faults(seed, every_s))
        census = Census(found.world, folder / "samples.jsonl")
        breaking = threading.Thread(target=storm.run, args=(stopping,), daemon=True)
        try:
            breaking.start()
            census.start()
            until("all renders have ended", lambda: _done(found.world) >= renders, LONGEST_S, every_s=2.0)
        except TimeoutError as error:
            say(str(error))
        finally:
            stopping.set()
            census.stop()
        lasted_s = time.monotonic() - began
        breaking.join()
        storm.finish()
    findings = Findings("soak", seed)
    findings.figures = _figures(storm, census, lasted_s)
    findings.least("renders", len(found.evidence.renders), renders)
    findings.least("faults", sum(storm.injected.values()), int(INJECTED * int(lasted_s / every_s)))
    findings.least("samples", len(census.samples), int(INJECTED * lasted_s / EVERY_LOOK_S))
    findings.most("faults that broke off", len(storm.errors), 0)
    _judge_slopes(findings, census)
    _judge_levels(findings, census)
    findings.judge(found.evidence)
    return findings


def _done(world: World) -> int:
    return int(world.rows(_DONE)[0]["n"])


def _faults(seed: int, every_s: float) -> list[Fault]:
    """More than can come: one each time, of the kinds in their usual proportions."""
    rng = Random(f"{seed}/soak")
    weights = {kind: weight for kind, (weight, _) in KINDS.items() if weight}
    kinds = rng.choices(list(weights), list(weights.values()), k=int(LONGEST_S / every_s))
    return [
        Fault(number, kind, (number + 1) * every_s, f"{seed}/soak/{number}")
        for number, kind in enumerate(kinds)
    ]


def _source(seed: int) -> Source:
    def source(world: World, stopping: threading.Event) -> Iterator[Submission]:
        rng = Random(f"{seed}/users")
        for submission in feed.feed(world, seed, LEAST_OPEN, stopping, f"row {ROW_MS}", num_images=8):
            yield _varied(submission, rng)

    return source


def _varied(submission: Submission, rng: Random) -> Submission:
    """Users do all that they can: a leak may lie on any way."""
    refiner = {"mode": "ensemble"} if rng.random() < REFINED else None
    return replace(
        submission,
        body={**submission.body, "refiner": refiner, "lane": rng.choice(["interactive", "bulk", "bulk"])},
        cancel_after_s=rng.uniform(0.0, 2.0) if rng.random() < PROFILE.cancelled else None,
        twice=rng.random() < PROFILE.twice,
    )


def _figures(storm: Storm, census: Census, lasted_s: float) -> dict[str, object]:
    lives = Counter(slope.role for slope in growth.slopes(census.samples))
    return {
        "minutes": round(lasted_s / 60, 1),
        "faults": dict(sorted(storm.injected.items())),
        "faults skipped": [f"{kind}: {reason}" for kind, reason in storm.skipped],
        "faults broken off": storm.errors,
        "samples": len(census.samples),
        "lives judged": dict(lives),
        "threads": {role: found.pair for role, found in flatness.threads(census.samples).items()},
        "store, MiB resident": flatness.level(census.samples, _store_mib).pair,
    }


def _judge_slopes(findings: Findings, census: Census) -> None:
    """The steepest life of each role; a role without a life that is long enough is not shown to be sound."""
    slopes = growth.slopes(census.samples)
    for role in ROLES:
        own = [slope for slope in slopes if slope.role == role]
        findings.least(f"{role}: lives judged", len(own), 1)
        if own:
            steepest = max(own, key=lambda slope: slope.mib)
            findings.most(f"{role}: MiB in 1,000 renders", steepest.mib, MIB_PER_THOUSAND)


def _store_mib(sample: Sample) -> float | None:
    return next((one["rss"] / growth.MIB for one in sample["processes"] if one["role"] == "s3"), None)


def _judge_levels(findings: Findings, census: Census) -> None:
    looked_at = {name for sample in census.samples for name in sample.get("tables", {})}
    store = [size for size in map(_store_mib, census.samples) if size is not None]
    findings.most("store: MiB resident", round(max(store, default=math.nan), 1), STORE_MIB)
    files = max((sample.get("sql_files", 0) for sample in census.samples), default=0)
    findings.most(
        "postgres: files, of those that it has", flatness.most_files(census.samples, "postgres"), files
    )
    findings.least("tables looked at", len(looked_at), TABLES)
    for name, level in flatness.levels(census.samples).items():
        findings.most(f"{name} (before: {level.before:g})", level.after, level.most)
