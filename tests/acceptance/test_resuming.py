"""A render that is interrupted goes on where it was, on another worker, and makes the same picture."""

from __future__ import annotations

import io
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from latentfarm.records import ObjectRef
from latentfarm.spec import RefinerSpec
from latentfarm.states import Stage
from tests.acceptance.farm import child_of, until
from tests.synthetic import advance, begin, to_pixels

if TYPE_CHECKING:
    import subprocess
    from uuid import UUID

    from latentfarm.storage import S3Store
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

REAL = {"LATENTFARM_ENGINE": "worker.assembly:load"}
OFTEN = {"LATENTFARM_CHECKPOINT_S": "0.05"}
SEED = 1
"""Of every job that `Farm.submit` makes."""
DRAIN_S = 40
STEPS = 150
LOAD: dict[str, Any] = {"prompt": "sleep 20", "num_inference_steps": STEPS, "refiner": RefinerSpec()}

REACHED = """
    SELECT count(*) FROM checkpoints c JOIN renders r ON r.id = c.render_id
    WHERE r.job_id = :job AND c.state = 'visible' AND c.stage = :stage AND c.step >= :step
"""
TAKEN = """
    SELECT coalesce(sum(a.steps), 0) FROM attempts a JOIN renders r ON r.id = a.render_id
    WHERE r.job_id = :job AND a.stage = :stage
"""
LIVE = "SELECT count(*) FROM workers WHERE ready AND ended_at IS NULL"


def image(farm: Farm, store: S3Store, job: UUID) -> bytes:
    (found,) = farm.repository.images(job)
    assert isinstance(found.ref, ObjectRef), found
    return store.get(found.ref)


def until_saved(farm: Farm, job: UUID, stage: Stage, step: int) -> None:
    values = {"job": job, "stage": int(stage), "step": step}
    until(f"step {step} of {stage.label} is saved", lambda: farm.count(REACHED, **values), every_s=0.01)


def drain(farm: Farm, worker: subprocess.Popen[bytes]) -> None:
    before = farm.count("SELECT count(*) FROM workers WHERE end_reason = 'drained'")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(DRAIN_S) == 0
    assert farm.count("SELECT count(*) FROM workers WHERE end_reason = 'drained'") == before + 1


def expected(steps: int, *, refined: bool) -> Any:
    """What the engine without a model makes of these many steps, taken in order and once each."""
    value = begin(SEED, Stage.BASE)
    for step in range(1, steps + 1):
        value = advance(value, SEED, step)
    if refined:
        value = begin(SEED, Stage.REFINE, value)
        for step in range(1, steps + 1):
            value = advance(value, SEED, step)
    return to_pixels(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": "euler_ancestral", "refiner": RefinerSpec(high_noise_frac=0.5)},
        {"sampler": "dpmpp_2m_sde"},
        {"sampler": "dpmpp_sde", "refiner": RefinerSpec()},
    ],
)
@pytest.mark.long
def test_a_worker_that_is_told_to_stop_loses_no_step(
    farm: Farm, store: S3Store, fields: dict[str, Any]
) -> None:
    """The tiny model, several workers one after the other; each is stopped in the middle of the render."""
    spec = {"num_inference_steps": 200, "width": 96, "height": 96, "reproducible": True, **fields}
    farm.scheduler()
    worker = farm.worker(**REAL, **OFTEN)
    farm.wait_ready(1)
    undisturbed = farm.submit(**spec)
    farm.wait_done(240)
    totals = {stage: farm.count(TAKEN, job=undisturbed, stage=int(stage)) for stage in Stage}
    job = farm.submit(**spec)
    stages = [stage for stage, total in totals.items() if total]
    for stage in stages:
        for step in (5, 30):
            until_saved(farm, job, stage, step)
            drain(farm, worker)
            worker = farm.worker(**REAL, **OFTEN)
            until("the next worker is ready", lambda: farm.count(LIVE) == 1)
    farm.wait_done(240)
    assert image(farm, store, job) == image(farm, store, undisturbed)
    # The last one of a stage may have found it finished.
    released = farm.count("SELECT count(*) FROM attempts WHERE outcome = 'released'")
    assert len(stages) <= released <= 2 * len(stages)
    assert farm.count("SELECT sum(tries) FROM renders") == 0
    for stage in stages:
        assert totals[stage] <= farm.count(TAKEN, job=job, stage=int(stage)) <= totals[stage] + 1
    farm.assert_sound(2)


def test_all_workers_are_restarted_under_load(farm: Farm, store: S3Store) -> None:
    farm.scheduler()
    workers = [farm.worker(), farm.worker()]
    farm.wait_ready(2)
    jobs = []
    for number in (0, 1, 0, 1):
        jobs += [farm.submit(send=False, **LOAD) for _ in range(6)]
        until("it is at work", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") >= 4)
        drain(farm, workers[number])
        workers[number] = farm.worker()
        until("the next worker is ready", lambda: farm.count(LIVE) == 2)
    farm.wait_done(120)
    farm.assert_sound(len(jobs))
    assert farm.count("SELECT sum(tries) FROM renders") == 0
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'released'") > 0
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome <> 'released'") == 2 * len(jobs)
    for job in jobs:
        found = np.asarray(Image.open(io.BytesIO(image(farm, store, job))))
        assert np.array_equal(found, expected(STEPS, refined=True))
        for stage in (Stage.BASE, Stage.REFINE):
            assert farm.count(TAKEN, job=job, stage=int(stage)) == STEPS
    until("their states are gone", lambda: farm.count("SELECT count(*) FROM checkpoints") == 0, timeout_s=30)


def test_a_killed_worker_costs_the_steps_since_the_last_checkpoint(farm: Farm, store: S3Store) -> None:
    farm.scheduler()
    worker = farm.worker(**OFTEN)
    farm.wait_ready(1)
    job = farm.submit(prompt="sleep 20", num_inference_steps=100)
    until_saved(farm, job, Stage.BASE, 50)
    os.kill(child_of(worker), signal.SIGKILL)
    farm.wait_done(60)
    found = np.asarray(Image.open(io.BytesIO(image(farm, store, job))))
    assert np.array_equal(found, expected(100, refined=False))
    last = farm.count("SELECT steps FROM attempts WHERE outcome = 'succeeded'")
    known = farm.count("SELECT steps FROM attempts WHERE outcome = 'lost'")
    assert known >= 50
    assert known + last == 100, "it went on from the last state that was told of"


@pytest.mark.parametrize("how", ["gone", pytest.param("ruined", marks=pytest.mark.long)])
def test_a_state_that_cannot_be_used_is_not_needed(farm: Farm, store: S3Store, how: str) -> None:
    farm.scheduler()
    worker = farm.worker(**OFTEN)
    farm.wait_ready(1)
    job = farm.submit(prompt="sleep 20", num_inference_steps=200)
    until_saved(farm, job, Stage.BASE, 5)
    drain(farm, worker)
    select = text("SELECT key FROM checkpoints")
    keys = farm.repository.transact(lambda c: list(c.execute(select).scalars()))
    assert keys
    store.delete(keys)
    if how == "ruined":
        for key in keys:
            store.put(key, b"no checkpoint", "application/octet-stream")
    farm.worker()
    farm.wait_done(60)
    farm.assert_sound(1)
    found = np.asarray(Image.open(io.BytesIO(image(farm, store, job))))
    assert np.array_equal(found, expected(200, refined=False))
    assert farm.count("SELECT steps FROM attempts WHERE outcome = 'succeeded'") == 200
    assert farm.count("SELECT sum(tries) FROM renders") == 0
