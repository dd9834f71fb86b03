"""Renders that nobody can make, among healthy ones: who pays for them, and how much work is left undone.

Calm and poison take turns, so that what else the machine does weighs on both alike.
"""

from __future__ import annotations

import time
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING

from latentfarm.retry import MAX_STARTS
from latentfarm.states import RenderState
from tests.chaos.place import until
from tests.chaos.plan import STEPS, Submission
from tests.chaos.profile import Profile
from tests.chaos.run import say
from tests.chaos.trials import feed
from tests.chaos.trials.findings import Findings
from tests.chaos.trials.ground import ground
from tests.chaos.trials.phases import Phases
from tests.chaos.trials.poisoned import Poisoned

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.trials.ground import Source
    from tests.chaos.world import World

KINDS = ("die", "oom", "hang", "nan")
DEADLY = ("die", "hang")
ROUNDS = 2
CALM_S = 150.0
POISON_S = 300.0
EVERY_S = 60.0
WARM_S = 20.0
SETTLE_S = 180.0
"""So long the last poison of a phase may take to end."""
ROW_MS = 50
"""Of each step, for each render in it: four workers make 6.7 renders in a second, and the cores are half idle."""
LEAST_OPEN = 96
"""Thrice what the workers hold at once."""
SHARE = 0.85
FULL = 0.7
"""Less of what the workers' steps allow in calm, and the cores are the limit: the trial says nothing then."""

_OPEN = """
    SELECT 1 FROM renders r JOIN idempotency i USING (job_id) WHERE i.key LIKE 'poison-%' AND r.state IN (0, 1, 2)
"""
PROFILE = Profile("poison", 0, 0, window_s=0.0, calm_s=240.0, collect_after_s=60.0)


def run(
    folder: Path, seed: int, *, calm_s: float = CALM_S, poison_s: float = POISON_S, every_s: float = EVERY_S
) -> Findings:
    """Twice calm and poison; then the judges."""
    phases, poisons = Phases(), SimpleQueue[Submission]()
    kinds = _kinds(seed)
    with ground(folder, PROFILE, _source(seed, poisons)) as found:
        time.sleep(WARM_S)
        for _ in range(ROUNDS):
            with phases.phase("calm"):
                time.sleep(calm_s)
            with phases.phase("poison") as phase:
                while (left_s := phase.began + poison_s - time.time()) > 0:
                    poisons.put(next(kinds))
                    time.sleep(min(left_s, every_s))
            _settle(found.world)
    findings = Findings("poison", seed)
    seen = Poisoned.of(found.evidence)
    asked = ROUNDS * round(poison_s / every_s)
    _judge(findings, seen, phases, asked)
    findings.judge(found.evidence)
    return findings


def _kinds(seed: int) -> Iterator[Submission]:
    rng = Random(f"{seed}/poison")
    number = 0
    while True:
        kind = KINDS[number % len(KINDS)]
        body = feed.body(rng, f"row {ROW_MS} {kind}", num_images=1)
        yield Submission(f"poison-{seed}-{number}", 0.0, body, poison=kind)
        number += 1


def _source(seed: int, poisons: SimpleQueue[Submission]) -> Source:
    """The healthy load, and poison as soon as there is some."""

    def source(world: World, stopping: threading.Event) -> Iterator[Submission]:
        for submission in feed.feed(world, seed, LEAST_OPEN, stopping, f"row {ROW_MS}"):
            while not poisons.empty():
                yield poisons.get()
            yield submission

    return source


def _settle(world: World) -> None:
    """Until what the poison did is over, so that calm is calm."""
    try:
        until("poison has ended", lambda: not world.rows(_OPEN), SETTLE_S)
        until("all workers are back", lambda: len(world.roster.ready()) == PROFILE.workers, SETTLE_S)
    except TimeoutError as error:
        say(str(error))
    time.sleep(WARM_S)


def _judge(findings: Findings, seen: Poisoned, phases: Phases, asked: int) -> None:
    calm, poisoned = (phases.rate(name, seen.made) for name in ("calm", "poison"))
    able = PROFILE.workers * 1000 / (STEPS * ROW_MS)
    findings.figures = {
        "healthy renders": len(seen.healthy),
        "poison starts": sum(seen.starts.values()),
        "poison starts by kind": seen.starts_by_kind,
        "poison starts in phases, per minute": round(60 * phases.rate("poison", seen.started), 2),
        "renders per second": {
            name: [round(rate, 2) for rate in phases.rates(name, seen.made)] for name in ("calm", "poison")
        },
        "busy share of the cores": {name: phases.cpu(name) for name in ("calm", "poison")},
    }
    findings.least("poison renders", len(seen.starts), asked)
    findings.least("kinds of poison", len(seen.starts_by_kind), min(asked, len(KINDS)))
    deadly = sum(seen.starts_by_kind.get(kind, 0) for kind in DEADLY)
    findings.least("processes that ended with their renders", seen.killed, deadly)
    findings.least("healthy renders in them", seen.interrupted, asked)
    findings.least("calm share of what the workers can do", round(calm / able, 3), FULL)
    findings.least("throughput of the others, share of calm", round(poisoned / calm, 3), SHARE)
    findings.most("healthy renders that did not succeed", seen.unmade, 0)
    findings.most("healthy renders ever charged", len(seen.charged), 0)
    findings.most("poison that did not end failed", seen.ends_other_than(RenderState.FAILED), 0)
    findings.most("starts of one poison render", max(seen.starts.values(), default=0), MAX_STARTS)
