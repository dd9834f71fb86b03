"""One run: a farm, its users, its faults, then calm, then judgement."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos import evidence, faults, invariants, plan, recovery
from tests.chaos.load import Load
from tests.chaos.place import until
from tests.chaos.storm import Storm
from tests.chaos.truth import Truth
from tests.chaos.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.evidence import Evidence
    from tests.chaos.profile import Profile

_OPEN = "SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1"
_PLANNED = "SELECT 1 FROM objects WHERE state <> 'visible' UNION ALL SELECT 1 FROM checkpoints LIMIT 1"
SWEEP_S = 25.0
"""So much longer than its grace an abandoned upload may lie there: the collector comes every 10 s."""


@dataclass(slots=True)
class Outcome:
    """What a run found."""

    profile: Profile
    seed: int
    breaches: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)
    """What became of the same renders in plain Celery, per variant; empty when it was not run."""


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def run(profile: Profile, seed: int, folder: Path) -> Outcome:
    """Runs it in `folder`, which keeps every log."""
    began = time.monotonic()
    submissions = plan.draw(seed, profile)
    drawn = faults.draw(seed, profile.faults, profile.window_s, profile.counts)
    say(f"chaos: seed {seed}, {profile.renders} renders, {len(drawn)} faults, logs in {folder}")
    truth = Truth(folder / "truth.jsonl")
    truth.write("phase", name="seed", seed=seed, profile=profile.name)
    with World(folder, profile, truth) as world:
        say(f"the farm is up after {time.monotonic() - began:.0f} s")
        storm = Storm(world, drawn)
        load_s = _window(world, Load(world.api_url, submissions, truth), storm)
        calm_s = calm(profile, world)
        found = evidence.gather(world)
        found.keep(folder / "evidence.json")
    truth.close()
    outcome = Outcome(profile, seed, invariants.check(found))
    outcome.figures = _figures(found, storm, folder)
    outcome.figures |= {"window_s": round(load_s, 1), "calm_s": round(calm_s, 1)}
    outcome.figures["wall_s"] = round(time.monotonic() - began, 1)
    return outcome


def _window(world: World, load: Load, storm: Storm) -> float:
    """Submissions and faults, side by side; returns when all are over."""
    began = time.monotonic()
    stopping = threading.Event()
    sides = [threading.Thread(target=side.run, args=(stopping,), daemon=True) for side in (load, storm)]
    try:
        for side in sides:
            side.start()
        for side in sides:
            side.join()
        load.finish()
        storm.finish()
    except BaseException:
        stopping.set()
        load.leave()
        raise
    world.truth.write("phase", name="faults over")
    say(f"all faults are over after {time.monotonic() - began:.0f} s: {dict(storm.injected)}")
    return time.monotonic() - began


def calm(profile: Profile, world: World) -> float:
    """Until everything has ended and the collector is through, or the time for it is over."""
    began = time.monotonic()
    try:
        until("all jobs have ended", lambda: not world.rows(_OPEN), profile.calm_s)
        say(f"all jobs have ended after {time.monotonic() - began:.0f} s")
        grace_s = profile.collect_after_s + SWEEP_S
        until("nothing is planned any more", lambda: not world.rows(_PLANNED), grace_s)
    except TimeoutError as error:
        say(str(error))
    return time.monotonic() - began


def _figures(found: Evidence, storm: Storm, folder: Path) -> dict[str, Any]:
    answers = found.told("submit")
    return {
        "jobs": len(found.jobs),
        "renders": len(found.renders),
        "renders_by_state": _by_state(found),
        "unanswered": sum(line["job"] is None for line in answers),
        "posts_retried": sum(line["tries"] > 1 for line in answers),
        "cancels": len(found.told("cancel")),
        "faults": dict(sorted(storm.injected.items())),
        "faults_skipped": [f"{kind}: {reason}" for kind, reason in storm.skipped],
        "faults_failed": storm.errors,
        "attempts": recovery.attempts_by_outcome(found),
        "incarnations": len(found.workers),
        "results_refused": _logged(folder, '"event": "result_refused"'),
        "superseded": _logged(folder, '"event": "superseded"'),
        "recovery_s": recovery.recovery(found),
        "wasted": round(recovery.wasted(found), 4),
    }


def _by_state(found: Evidence) -> dict[str, int]:
    from latentfarm.states import RenderState

    labels = [RenderState(row["state"]).label for row in found.renders]
    return {label: labels.count(label) for label in sorted(set(labels))}


def _logged(folder: Path, text: str) -> int:
    """Lines in the logs of the workers that hold a text."""
    logs = [path.read_text(errors="replace") for path in folder.glob("worker*.log*")]
    return sum(log.count(text) for log in logs)
