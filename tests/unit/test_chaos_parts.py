"""The parts of the chaos rig that need nothing: what a seed draws, and what its judges call a breach."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.chaos import faults, plan
from tests.chaos.evidence import Evidence
from tests.chaos.invariants import INVARIANTS, check
from tests.chaos.plain.judgement import judge
from tests.chaos.profile import LARGE, NORMAL, SHORT
from tests.chaos.recovery import percentile, recovery, wasted

JOB = UUID(int=1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def move(number: int, was: int | None, state: int, was_fence: int | None, fence: int, **more: Any) -> Any:
    stages = {
        "was_stage": None if was is None else 0,
        "stage": 0,
        "was_owner": None,
        "owner": None,
        "starts": 1,
    }
    base = {"id": number, "render_id": 1, "was": was, "state": state, "was_fence": was_fence, "fence": fence}
    return {**base, **stages, **more}


def sound() -> Evidence:
    """One job of one image that a worker lost and another made."""
    key, image = "k", b"not a picture"
    from hashlib import sha256

    attempts = [
        {
            "render_id": 1,
            "fence": 1,
            "worker_id": 5,
            "started_at": at(1),
            "ended_at": at(3),
            "outcome": "lost",
        },
        {"render_id": 1, "fence": 3, "worker_id": 6, "started_at": at(4), "ended_at": at(5)},
    ]
    attempts[1]["outcome"] = "succeeded"
    for row in attempts:
        row.update(error_class=None, message=None)
    shown = {"render_id": 1, "fence": 3, "kind": "image", "state": "visible", "key": "v1/images/1/3.png"}
    return Evidence(
        jobs=[
            {"id": JOB, "state": "succeeded", "finished_at": at(5), "remaining": 0, "queued": 0, "failed": 0}
            | {"cancelled_at": None}
        ],
        renders=[{"id": 1, "job_id": JOB, "ordinal": 0, "state": 3, "stage": 0, "starts": 2, "tries": 0}],
        attempts=attempts,
        objects=[{**shown, "size": len(image), "sha256": sha256(image).digest()}],
        keys=[{"key": key, "job_id": JOB}],
        moves=[
            move(1, None, 0, None, 0),
            move(2, 0, 1, 0, 0),
            move(3, 1, 2, 0, 1, owner=5),
            move(4, 2, 0, 1, 2, was_owner=5),
            move(5, 0, 1, 2, 2),
            move(6, 1, 2, 2, 3, owner=6),
            move(7, 2, 3, 3, 3, was_owner=6),
        ],
        job_moves=[
            {"job_id": JOB, "was": None, "state": "queued"},
            {"job_id": JOB, "was": "queued", "state": "running"},
            {"job_id": JOB, "was": "running", "state": "succeeded"},
        ],
        events=[{"id": 1, "job_id": JOB, "type": "job.succeeded"}],
        workers=[{"id": 5, "pid": 77, "ended_at": at(3), "end_reason": "lease expired"}],
        specs=[],
        truth=[
            {"kind": "plan", "key": key, "poison": None, "cancel_after_s": None}
            | {"body": {"num_images": 1, "seed": 1, "num_inference_steps": 1, "refiner": None}},
            {"kind": "submit", "key": key, "job": str(JOB), "status": 202},
            {"kind": "fault", "fault": "freeze", "incarnation": 5, "parent": 77, "t": at(1.5).timestamp()},
        ],
        listing={"v1/images/1/3.png": len(image)},
        data={"v1/images/1/3.png": image},
        steps=[(1, 1, 0, 1), (1, 3, 0, 1), (1, 3, 0, 2)],
    )


def red(evidence: Evidence) -> set[str]:
    return {name for name, breaches in check(evidence).items() if breaches}


def test_a_sound_run_breaches_nothing_but_the_picture() -> None:
    assert red(sound()) == {"5 pictures"}


def _spoil(name: str, evidence: Evidence) -> None:
    """Breaks what one invariant looks at."""
    first: dict[str, Any] = {
        "1 lost": lambda e: e.truth.append({"kind": "submit", "key": "k", "job": "gone", "status": 202}),
        "1 stuck": lambda e: e.renders[0].update(state=1),
        "1 ended once": lambda e: e.events.append({"id": 2, "job_id": JOB, "type": "job.failed"}),
        "2 unasked": lambda e: e.jobs.append({**e.jobs[0], "id": UUID(int=2)}),
        "2 one job per key": lambda e: e.keys[0].update(job_id=UUID(int=2)),
        "3 complete": lambda e: e.renders[0].update(ordinal=1),
        "3 duplicates visible": lambda e: e.objects.append({**e.objects[0], "fence": 1}),
        "4 objects": lambda e: e.data.update({"v1/images/1/3.png": b"other"}),
        "6 orphans": lambda e: e.listing.update({"v1/images/1/1.png": 3}),
        "7 one lease": lambda e: e.attempts[0].update(ended_at=at(4.5)),
        "7 stale commits": lambda e: e.objects[0].update(fence=1),
        "7 early rescues": lambda e: e.truth.pop(),
        "8 state graph": lambda e: e.moves.append(move(8, 4, 0, 3, 4)),
        "8 jobs": lambda e: e.job_moves.append({"job_id": JOB, "was": "succeeded", "state": "failed"}),
        "9 starts and tries": lambda e: e.renders[0].update(starts=7),
        "9 poison": lambda e: e.truth[0].update(poison="die"),
        "9 healthy": lambda e: e.renders[0].update(state=4),
        "10 cancelled": lambda e: e.renders[0].update(state=5),
        "11 one refine per base": lambda e: e.moves.append(move(8, 2, 0, 3, 4, stage=1)),
    }
    first[name](evidence)


@pytest.mark.parametrize("name", sorted(INVARIANTS.keys() - {"5 pictures"}))
def test_each_invariant_can_be_breached(name: str) -> None:
    evidence = sound()
    _spoil(name, evidence)
    assert name in red(evidence)


def test_recovery_counts_from_the_fault() -> None:
    found = recovery(sound())["freeze"]
    assert found["queued"] == {"n": 1, "p50": 1.5, "p99": 1.5, "max": 1.5}
    assert found["claimed"]["max"] == 2.5


def test_work_is_wasted_when_a_step_is_done_twice() -> None:
    assert wasted(sound()) == 0.5


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]


@pytest.mark.parametrize("profile", [SHORT, NORMAL, LARGE], ids=lambda profile: profile.name)
def test_a_seed_draws_the_same_run_again(profile: Any) -> None:
    drawn = plan.draw(3, profile)
    assert sum(item.images for item in drawn) == profile.renders
    assert drawn == plan.draw(3, profile)
    assert drawn != plan.draw(4, profile)
    storm = faults.draw(3, profile.faults, profile.window_s)
    assert len(storm) == profile.faults
    assert storm == faults.draw(3, profile.faults, profile.window_s)


def test_faults_come_in_the_proportions_of_the_protocol() -> None:
    weights = {kind: weight for kind, (weight, _) in faults.KINDS.items()}
    assert sum(weights.values()) == 600
    assert faults.shares(600, weights) == weights
    thirty = faults.shares(30, weights)
    assert (sum(thirty.values()), thirty["child_kill"], thirty["node_kill"], thirty["freeze"]) == (
        30,
        6,
        3,
        2,
    )


def test_a_run_can_be_aimed() -> None:
    assert [fault.kind for fault in faults.draw(1, 30, 10.0, {"freeze": 2})] == ["freeze", "freeze"]


def test_no_poison_where_none_is_wanted() -> None:
    drawn = plan.draw(1, dataclasses.replace(SHORT, poison=0.0))
    assert [item for item in drawn if item.poison] == []


def test_plain_celery_is_judged_by_its_last_stage() -> None:
    accepted = {0: [("base", 1)], 1: [("base", 1), ("refine", 1)], 2: [("base", 1)]}
    log = "start 0 base 1\nend 0 base 1\nstart 0 base 1\nend 0 base 1\nstart 1 base 1\nend 1 base 1\n"
    found = judge(log, accepted)
    assert (found["lost"], found["twice"], found["ended"]) == (2, 1, 1)
    assert json.dumps(found)
