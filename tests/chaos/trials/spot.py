"""Spot reclaim: SIGTERM with 20 s of notice, at any step; hardly any work is lost, and no picture differs."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.faults import Fault
from tests.chaos.profile import NORMAL
from tests.chaos.recovery import attempts_by_outcome, percentile, recovery
from tests.chaos.roster import Skipped
from tests.chaos.run import say
from tests.chaos.trials.feed import feed
from tests.chaos.trials.findings import Findings
from tests.chaos.trials.ground import ground

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.evidence import Evidence
    from tests.chaos.world import World

NOTICES = 50
ABREAST = 2
"""Workers that are taken away at once, of four."""
PAUSE_S = 1.5
"""Longest wait before a notice; a stage takes about as long."""
TRIES = 3
"""For a notice that finds no worker free."""
OPEN = 64
STEPS = 24
STEP_MS = 60


def run(folder: Path, seed: int, notices: int = NOTICES) -> Findings:
    """See the module."""
    found = Findings("spot", seed)
    profile = dataclasses.replace(NORMAL, collect_after_s=30.0)
    fields = {"num_inference_steps": STEPS, "refiner": {"mode": "ensemble"}}
    began = time.monotonic()
    with ground(
        folder,
        profile,
        lambda world, stopping: feed(world, seed, OPEN, stopping, prompt=f"sleep {STEP_MS}", **fields),
    ) as place:
        with ThreadPoolExecutor(ABREAST) as pool:
            given = sum(pool.map(lambda number: _reclaim(place.world, seed, number), range(notices)))
        say(f"{given} workers were taken away")
    found.least("notices", given, notices)
    _judge(found, place.evidence, notices)
    found.figures["wall_s"] = round(time.monotonic() - began)
    return found


def _reclaim(world: World, seed: int, number: int) -> bool:
    """Takes a busy worker away, and returns when it has gone; its keeper starts the next."""
    fault = Fault(number, "terminate", 0.0, f"{seed}/spot/{number}")
    for _ in range(TRIES):
        time.sleep(Random(f"{seed}/pause/{number}").uniform(0, PAUSE_S))
        try:
            fault.inject(world)
        except Skipped as error:
            say(f"notice {number}: {error}")
        else:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Break:
    """A stage of a render that one claim has left and another went on with. `repeated`: steps done by both."""

    at: int
    repeated: int


def breaks(steps: list[tuple[int, int, int, int]]) -> list[Break]:
    """Every one, from the steps that were done.

    Args:
        steps: (render, fence, stage, step), as `tests.chaos.engine.read_steps` has them.
    """
    claims: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for render, fence, stage, step in steps:
        claims[render, stage][fence].append(step)
    found = []
    for fences in claims.values():
        ordered = [fences[fence] for fence in sorted(fences)]
        for one, following in pairwise(ordered):
            found.append(Break(max(one), max(one) + 1 - min(following)))
    return found


def _judge(found: Findings, evidence: Evidence, notices: int) -> None:
    hit = {line["incarnation"] for line in evidence.told("fault")}
    drained = sum(row["id"] in hit and row["end_reason"] == "drained" for row in evidence.workers)
    outcomes = attempts_by_outcome(evidence)
    broken = breaks(evidence.steps)
    found.least("workers that drained in time", drained, notices)
    found.least("renders taken away in the middle of a stage", len(broken), notices)
    found.least("different steps at which that was", len({item.at for item in broken}), STEPS // 2)
    found.most("steps of one render lost at once", max((item.repeated for item in broken), default=0), 1)
    found.most("steps left out", sum(item.repeated < 0 for item in broken), 0)
    found.most("claims lost", outcomes.get("lost", 0), 0)
    found.most("renders charged", sum((move["tries"] or 0) > 0 for move in evidence.moves), 0)
    found.judge(evidence)
    at = [float(item.at) for item in broken] or [0.0]
    found.figures |= {
        "renders": len(evidence.renders),
        "attempts": outcomes,
        "steps": len(evidence.steps),
        "steps_done_twice": sum(item.repeated for item in broken),
        "taken_away_at_step": {
            "p10": percentile(at, 0.1),
            "p50": percentile(at, 0.5),
            "p90": percentile(at, 0.9),
        },
        "recovery_s": recovery(evidence),
    }
