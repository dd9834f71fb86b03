from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from latentfarm.cli.follow import Steps, stages
from latentfarm.spec import RenderSpec
from latentfarm.states import JobState, Lane
from latentfarm.views import EventView, JobView

SPEC = RenderSpec(prompt="a", num_inference_steps=20, num_images=2, seed=1)


def job(**fields: Any) -> JobView:
    spec = RenderSpec.model_validate({**SPEC.model_dump(), **fields}).model_dump(mode="json")
    return JobView(
        id=UUID(int=0),
        kind="single",
        state=JobState.QUEUED,
        lane=Lane.INTERACTIVE,
        priority=0,
        model="tiny",
        prompt="a",
        seed=1,
        num_images=spec["num_images"],
        remaining=2,
        failed=0,
        metadata={},
        created_at=datetime.now(UTC),
        url="",
        spec=spec,
        events_url="",
        counts={},
        images=[],
    )


def event(kind: str, **data: Any) -> EventView:
    return EventView(id=None, type=kind, data=data)


def step(index: int, stage: str, at: int, total: int) -> EventView:
    return event("progress", index=index, stage=stage, step=at, total=total)


@pytest.mark.parametrize(
    ("refiner", "wanted"),
    [
        (None, {"base": 20}),
        ({"mode": "ensemble", "high_noise_frac": 0.8}, {"base": 16, "refine": 4}),
        ({"mode": "image", "strength": 0.3}, {"base": 20, "refine": 6}),
        ({"mode": "only", "strength": 0.5}, {"refine": 10}),
    ],
)
def test_the_steps_of_each_stage_are_guessed(refiner: dict[str, Any] | None, wanted: dict[str, int]) -> None:
    assert stages({**SPEC.model_dump(mode="json"), "refiner": refiner}) == wanted


def test_a_schedule_of_ones_own_counts() -> None:
    assert stages(SPEC.model_copy(update={"timesteps": (9, 5, 1)}).model_dump(mode="json")) == {"base": 3}


def test_strength_leaves_the_later_steps() -> None:
    body = {**SPEC.model_dump(mode="json"), "num_inference_steps": 20, "strength": 0.5}
    ensemble = {"mode": "ensemble", "high_noise_frac": 0.8}
    assert stages({**body, "refiner": None}) == {"base": 10}
    assert stages({**body, "refiner": ensemble}) == {"base": 6, "refine": 4}
    assert stages({**body, "refiner": {"mode": "image", "strength": 0.5}}) == {"base": 10, "refine": 10}


def test_steps_of_both_stages_add_up() -> None:
    steps = Steps(job(refiner={"mode": "ensemble", "high_noise_frac": 0.8}))
    assert (steps.done, steps.total) == (0, 40)
    steps.take(step(0, "base", 10, 16))
    steps.take(step(1, "refine", 2, 4))
    assert steps.done == 10 + 16 + 2
    steps.take(event("image.succeeded", index=1))
    assert (steps.done, steps.images_done) == (10 + 20, 1)


def test_a_job_that_refines_has_no_base_to_wait_for() -> None:
    steps = Steps(
        job(refiner={"mode": "ensemble", "high_noise_frac": 0.8}).model_copy(update={"kind": "refine"})
    )
    assert steps.total == 8
    steps.take(step(1, "refine", 2, 4))
    assert steps.done == 2


def test_a_late_step_does_not_take_back_a_finished_image() -> None:
    steps = Steps(job())
    steps.take(event("image.succeeded", index=0))
    steps.take(step(0, "base", 3, 20))
    assert steps.done == 20


def test_the_worker_corrects_the_guess() -> None:
    steps = Steps(job())
    steps.take(step(0, "base", 39, 39))
    assert (steps.done, steps.total) == (39, 78)


def test_the_end_of_the_job_fills_the_bar_without_any_other_event() -> None:
    steps = Steps(job())
    steps.take(event("job.succeeded", state="succeeded"))
    assert (steps.done, steps.images_done) == (steps.total, 2)
