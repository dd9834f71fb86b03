"""kill -9 between any two things that a worker does: nothing is lost, nothing is done twice.

A few traps lie at a time, at points drawn from the seed; a child that comes to one dies there. See
tests/chaos/failing_engine.py for the points.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.failing_engine import POINTS
from tests.chaos.profile import NORMAL
from tests.chaos.recovery import attempts_by_outcome, recovery, wasted
from tests.chaos.run import say
from tests.chaos.traps import FOLDER, Traps
from tests.chaos.trials.feed import feed
from tests.chaos.trials.findings import Findings
from tests.chaos.trials.ground import ground

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.evidence import Evidence
    from tests.chaos.world import World

DEATHS = 20
"""At each point."""
WORKERS = 8
"""More than there are cores: a parent whose children die early waits up to 10 s before the next."""
ABREAST = 4
"""Traps that lie at once."""
LONGEST_S = 40 * 60.0
OPEN = 96
LOOK_S = 0.1


def run(folder: Path, seed: int, deaths: int = DEATHS) -> Findings:
    """See the module."""
    found = Findings("failpoints", seed)
    (folder / "traps").mkdir()
    traps = Traps(folder / "traps")
    environment = {
        "LATENTFARM_ENGINE": "tests.chaos.failing_engine:load",
        "LATENTFARM_CHECKPOINT_S": "0.08",
        FOLDER: str(folder / "traps"),
    }
    profile = dataclasses.replace(NORMAL, workers=WORKERS, collect_after_s=30.0, environment=environment)
    began = time.monotonic()
    with ground(
        folder,
        profile,
        lambda world, stopping: feed(
            world, seed, OPEN, stopping, prompt="sleep 10", refiner={"mode": "ensemble"}
        ),
    ) as place:
        _kill(place.world, traps, Random(f"{seed}/points"), deaths)
    _judge(found, place.evidence, Counter(line["point"] for line in traps.sprung().values()), deaths)
    found.figures["wall_s"] = round(time.monotonic() - began)
    return found


def _kill(world: World, traps: Traps, rng: Random, deaths: int) -> None:
    """Returns when every point has had its deaths, or time is up."""
    deck = list(POINTS) * deaths
    rng.shuffle(deck)
    lying: set[str] = set()
    told: set[str] = set()
    deadline = time.monotonic() + LONGEST_S
    while (deck or lying) and time.monotonic() < deadline:
        for name, line in traps.sprung().items():
            if name not in told:
                told.add(name)
                lying.discard(line["point"])
                _tell(world, len(told), line)
        # One trap at a point at a time, so the next card that is no twin of what lies.
        while len(lying) < ABREAST and (fresh := [point for point in deck if point not in lying]):
            deck.remove(fresh[0])
            lying.add(fresh[0])
            traps.lay(fresh[0])
        time.sleep(LOOK_S)
    for point in lying:
        traps.lift(point)


def _tell(world: World, number: int, line: dict[str, object]) -> None:
    fields = {name: line[name] for name in ("t", "point", "pid", "held")}
    world.truth.write("fault", number=number, fault="child_kill", incarnation=line["worker"], **fields)
    if number % 20 == 0:
        say(f"{number} deaths")


def _judge(found: Findings, evidence: Evidence, deaths: Counter[str], wanted: int) -> None:
    for point in POINTS:
        found.least(f"deaths: {point}", deaths[point], wanted)
    dead = {line["incarnation"] for line in evidence.told("fault")}
    seen = sum(row["id"] in dead and row["end_reason"] == "exited with -9" for row in evidence.workers)
    found.least("deaths that parents saw", seen, wanted * len(POINTS))
    found.most("renders charged", sum((move["tries"] or 0) > 0 for move in evidence.moves), 0)
    found.judge(evidence)
    found.figures |= {
        "deaths": deaths.total(),
        "renders": len(evidence.renders),
        "attempts": attempts_by_outcome(evidence),
        "recovery_s": recovery(evidence),
        "wasted": round(wasted(evidence), 4),
    }
