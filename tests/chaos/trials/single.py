"""One fault at a time: how long until the renders that it interrupted are claimed again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tests.chaos.faults import KINDS
from tests.chaos.profile import Profile
from tests.chaos.recovery import percentile, returns, spread
from tests.chaos.run import say
from tests.chaos.trials.feed import feed
from tests.chaos.trials.findings import Findings
from tests.chaos.trials.flush import WAITING, Flush
from tests.chaos.trials.ground import ground
from tests.chaos.trials.solo import Solo
from tests.chaos.trials.waits import first_claims, slowest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.evidence import Evidence

TIMES = 5
ALL = tuple(kind for kind, (weight, _) in KINDS.items() if weight)
PROFILE = Profile("single", 0, 0, window_s=0.0, calm_s=240.0, collect_after_s=60.0)
OPEN = 8
"""Renders in the farm at any time: two for each of four workers that could hold eight, so that those that are left
take over at once, and every worker has something to lose. What is measured is the farm, not its queue."""
PROMPT = "sleep 150"
"""A render takes 1.8 s: a suspect runs alone, after whatever its worker still has, and so waits about as long."""

DEATH_P50_S, DEATH_P99_S = 5.0, 15.0
HOST_P99_S, HOST_MAX_S = 40.0, 60.0
FLUSH_S = 10.0
HOSTS = ("node_kill", "freeze", "clock")
INTERRUPTING = ("child_kill", "hang", "terminate", *HOSTS)


def run(folder: Path, seed: int) -> Findings:
    """See `Trials`."""
    return try_kinds(folder, seed, ALL, TIMES, TIMES)


def try_kinds(folder: Path, seed: int, kinds: Sequence[str], times: int, flushes: int) -> Findings:
    """Each of `kinds` so often, then FLUSHALL under a long backlog."""
    found = Findings("single", seed)
    fed = threading.Event()
    try:
        with ground(
            folder, PROFILE, lambda world, _: feed(world, seed, OPEN, fed, PROMPT, num_images=2)
        ) as here:
            solo = Solo(here.world, seed, kinds, times)
            solo.run()
            fed.set()
            say(f"{sum(solo.injected.values())} faults are over; now the backlog")
            flush = Flush(here.world, seed)
            flush.run(flushes)
    finally:
        fed.set()
    found.figures = _figures(here.evidence, solo, flush)
    found.least("faults of the rarest kind", min(solo.injected[kind] for kind in kinds), times)
    found.most("faults after which the farm did not settle", len(solo.unsettled), 0)
    _returns(found, here.evidence, kinds, times)
    _waits(found, here.evidence)
    _flushes(found, flush, flushes)
    found.judge(here.evidence)
    return found


def _figures(evidence: Evidence, solo: Solo, flush: Flush) -> dict[str, Any]:
    queued, claimed = returns(evidence)
    slow, first = slowest(evidence), first_claims(evidence)
    return {
        "renders": len(evidence.renders),
        "faults": dict(sorted(solo.injected.items())),
        "unsettled": solo.unsettled,
        "seconds": {
            kind: {
                **(
                    {"queued": spread(queued[kind]), "claimed": spread(claimed[kind])}
                    if kind in queued
                    else {}
                ),
                "next claim": spread(first.get(kind, [])),
                "slowest waiting": spread(slow.get(kind, [])),
            }
            for kind in sorted(solo.injected)
        },
        "flush_s": flush.took_s,
        "waiting at FLUSHALL": flush.waiting,
        "dispatched, in Redis": flush.window,
    }


def _returns(found: Findings, evidence: Evidence, kinds: Sequence[str], times: int) -> None:
    """Bounds on what was interrupted."""
    _, claimed = returns(evidence)
    for kind in INTERRUPTING:
        if kind in kinds:
            found.least(f"renders interrupted by {kind}", len(claimed[kind]), times)
    # A stall is not known before `stall_s`, so a p50 of both would tell how many of each there were.
    _hold(found, "claimed after the death of a child", claimed["child_kill"], 0.5, DEATH_P50_S)
    _hold(found, "claimed after the death of a child", claimed["child_kill"], 0.99, DEATH_P99_S)
    _hold(found, "claimed after the stall of a child", claimed["hang"], 0.99, DEATH_P99_S)
    for kind in HOSTS:
        _hold(found, f"claimed after {kind}", claimed[kind], 0.99, HOST_P99_S)
        _hold(found, f"claimed after {kind}", claimed[kind], 1.0, HOST_MAX_S)


def _waits(found: Findings, evidence: Evidence) -> None:
    """Bounds on what was waiting, which is all that the other kinds can hold up."""
    slow = slowest(evidence)
    _hold(found, "slowest waiting, half-open", slow.get("redis_half_open", []), 0.99, HOST_P99_S)
    _hold(
        found, "slowest waiting, any kind", [one for each in slow.values() for one in each], 1.0, HOST_MAX_S
    )


def _flushes(found: Findings, flush: Flush, times: int) -> None:
    found.least("FLUSHALLs", len(flush.took_s), times)
    found.least("renders waiting at FLUSHALL", min(flush.waiting), WAITING)
    _hold(found, "window full after FLUSHALL", flush.took_s, 1.0, FLUSH_S)


def _hold(found: Findings, what: str, values: list[float], share: float, bound: float) -> None:
    if values:
        name = "max" if share == 1.0 else f"p{share * 100:.0f}"
        found.most(f"{what}, {name}", round(percentile(values, share), 2), bound)
