"""All workers sleep for two leases and wake as if nothing had been: whatever they write then is refused, and told."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.faults import Fault
from tests.chaos.place import until
from tests.chaos.profile import NORMAL
from tests.chaos.recovery import attempts_by_outcome
from tests.chaos.roster import Skipped
from tests.chaos.run import say
from tests.chaos.trials.feed import feed
from tests.chaos.trials.findings import Findings
from tests.chaos.trials.ground import ground
from tests.chaos.trials.late import Late
from tests.chaos.writing_engine import read_writes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.evidence import Evidence
    from tests.chaos.world import World

ROUNDS = 10
WORKERS = 4
HELD = 3
"""So many renders each of them should hold."""
WAIT_S = 90.0
SLOW_S = 0.2
"""So long bytes are on their way to the store, or few renders would be met while they are delivered."""
OPEN = 96


def run(folder: Path, seed: int, rounds: int = ROUNDS) -> Findings:
    """See the module."""
    found = Findings("freeze", seed)
    environment = {"LATENTFARM_ENGINE": "tests.chaos.writing_engine:load", "LATENTFARM_CHECKPOINT_S": "0.08"}
    profile = dataclasses.replace(NORMAL, workers=WORKERS, environment=environment)
    fields = {"refiner": {"mode": "ensemble"}}
    began = time.monotonic()
    with ground(
        folder,
        profile,
        lambda world, stopping: feed(world, seed, OPEN, stopping, prompt="sleep 20", **fields),
    ) as place:
        _slow(place.world)
        frozen = 0
        for number in range(rounds):
            frozen += _sleep(place.world, seed, number)
            say(f"{frozen} workers have slept")
    found.least("workers frozen", frozen, rounds * WORKERS)
    _judge(found, place.evidence, folder, rounds)
    found.figures["wall_s"] = round(time.monotonic() - began)
    return found


def _slow(world: World) -> None:
    def wait() -> None:
        for link in world.board.named(".s3"):
            if "worker" in link.name:
                link.delay_s = SLOW_S

    world.board.do(wait)


def _sleep(world: World, seed: int, number: int) -> int:
    """One night of all workers; returns how many really slept."""

    def busy() -> bool:
        return sum(target.held >= HELD for target in world.roster.ready()) == WORKERS

    with contextlib.suppress(TimeoutError):
        until("all workers are busy", busy, WAIT_S)
    time.sleep(Random(f"{seed}/night/{number}").uniform(0, 1))

    def freeze(one: int) -> bool:
        try:
            Fault(one, "freeze", 0.0, f"{seed}/freeze/{one}").inject(world)
        except Skipped as error:
            say(f"freeze {one}: {error}")
            return False
        return True

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(freeze, range(number * WORKERS, (number + 1) * WORKERS)))


def _judge(found: Findings, evidence: Evidence, folder: Path, rounds: int) -> None:
    hit = {line["incarnation"] for line in evidence.told("fault")}
    over = sum(row["id"] in hit and row["end_reason"] == "lease expired" for row in evidence.workers)
    late = Late(evidence, read_writes(folder / "steps"), folder)
    refused = late.refused()
    caught = late.caught()
    found.least("leases that ended", over, rounds * WORKERS)
    found.most("late writes accepted", len(late.accepted()), 0)
    results = sum(kind in Late.RESULTS for kind, _, _ in refused)
    found.least("late results refused", results, rounds)
    found.most("refused and not logged", len(late.untold()), 0)
    for state in Late.STATES:
        found.least(f"renders asleep while {state}", caught[state], 1)
    found.judge(evidence)
    found.told += [f"late and accepted: {line}" for line in late.accepted()[:5]]
    found.told += [f"refused and not logged: {entry}" for entry in sorted(late.untold())[:5]]
    found.figures |= {
        "renders": len(evidence.renders),
        "attempts": attempts_by_outcome(evidence),
        "refused": {
            kind: sum(entry[0] == kind for entry in refused) for kind in sorted({e[0] for e in refused})
        },
        "asleep_while": dict(caught),
        "dropped_unwritten": late.dropped(),
    }
