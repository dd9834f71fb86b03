"""Promises that need the real engine in real processes: bit-equal pictures, and no waiting behind bulk work."""

from __future__ import annotations

import io
import os
import random
import signal
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from latentfarm.records import ObjectRef
from latentfarm.spec import RefinerSpec
from latentfarm.storage import S3Store
from tests.acceptance.farm import Farm, child_of, standing, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from latentfarm.embedded.stack import Stack

pytestmark = pytest.mark.clock

REAL = {"LATENTFARM_ENGINE": "worker.assembly:load"}
SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m", "heun", "ddim")
CHOICES = random.Random(7)


@pytest.fixture(scope="module")
def farm(stack: Stack, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One with the real engine in one worker; the last test adds another one and kills the first one's child."""
    with standing(stack, template, tmp_path_factory.mktemp("farm")) as farm:
        farm.scheduler()
        farm.worker(**REAL)
        farm.wait_ready(1)
        yield farm


@pytest.fixture(scope="module")
def store(farm: Farm) -> S3Store:
    """The one of this farm: that of every test flushes Redis."""
    names = ("endpoint_url", "bucket", "region", "access_key_id", "secret_access_key")
    given: dict[str, Any] = {name: farm.environment[f"LATENTFARM_S3_{name.upper()}"] for name in names}
    return S3Store(**given)


def different_jobs() -> list[dict[str, Any]]:
    """16 specs that share a shape and nothing else."""
    return [
        {
            "prompt": f"a {CHOICES.choice(['red', 'green', 'blue'])} circle",
            "num_inference_steps": CHOICES.randint(4, 9),
            "guidance_scale": CHOICES.choice([1.0, 3.0, 5.0, 7.5]),
            "sampler": SAMPLERS[number % len(SAMPLERS)],
            "refiner": RefinerSpec(high_noise_frac=0.6) if number % 2 else None,
            "reproducible": True,
        }
        for number in range(16)
    ]


def pixels(farm: Farm, store: S3Store, job_id: UUID) -> np.ndarray:
    (image,) = farm.repository.images(job_id)
    assert isinstance(image.ref, ObjectRef), image
    return np.asarray(Image.open(io.BytesIO(store.get(image.ref))))


def test_batches_are_full(farm: Farm) -> None:
    for number in range(40):
        farm.submit(send=False, num_inference_steps=5 + number % 5, sampler=SAMPLERS[number % 5])
    farm.wait_done(120)
    sql = "SELECT info->'counters' FROM workers WHERE ready AND ended_at IS NULL"

    def told() -> dict[str, Any]:
        return dict(farm.repository.transact(lambda c: c.execute(text(sql)).scalar_one()))

    # It tells every two seconds, and later on a busy machine.
    until("the worker has told of all steps", lambda: told()["steps"] >= sum(range(5, 10)) * 8)
    counters = told()
    assert counters["full_bucket_rows"] > 0
    assert counters["full_rows"] >= 0.75 * counters["full_bucket_rows"]


@pytest.mark.parametrize("jobs", [20, pytest.param(50, marks=pytest.mark.long)])
def test_bulk_never_blocks_interactive(farm: Farm, jobs: int) -> None:
    bulk = farm.submit(500, send=False, lane="bulk", num_inference_steps=20)
    until("the worker is saturated", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") >= 8)
    waits = [first_step_after_s(farm) for _ in range(jobs)]
    assert farm.count(
        "SELECT count(*) FROM renders r JOIN jobs j ON j.id = r.job_id WHERE lane = 'bulk' AND r.state < 3"
    )
    worst = sorted(waits)[int(0.99 * len(waits)) - 1]
    assert worst <= 1.0 + step_s(farm), statistics.quantiles(waits)
    farm.repository.mark_cancelled(bulk, tenant="")
    farm.repository.cancel_renders(bulk)
    farm.wait_done(60)


def first_step_after_s(farm: Farm) -> float:
    """Seconds from the commit of an interactive job to the end of its first step."""
    job_id = farm.submit(send=True, num_inference_steps=2)
    committed = time.time()
    sql = "SELECT count(*) FROM jobs WHERE id = :id AND finished_at IS NOT NULL"
    until("the interactive job has ended", lambda: farm.count(sql, id=job_id))
    (image,) = farm.repository.images(job_id)
    return float(image.notes["first_step_at"]) - committed


def step_s(farm: Farm) -> float:
    """Mean seconds of one turn of the engine, from its own counters."""
    sql = "SELECT info->'counters' FROM workers WHERE ready AND ended_at IS NULL"
    counters = farm.repository.transact(lambda c: c.execute(text(sql)).scalar_one())
    return float(counters["busy_s"] / max(1, counters["forwards"]))


def test_pictures_depend_on_their_spec_alone(farm: Farm, store: S3Store) -> None:
    specs = different_jobs()
    first = farm.processes[-1]
    alone = []
    for spec in specs:
        job = farm.submit(**spec)
        farm.wait_done(60)
        alone.append(pixels(farm, store, job))
    assert len({array.tobytes() for array in alone}) == len(specs)

    farm.worker(**REAL)
    farm.wait_ready(2)
    order = random.sample(range(len(specs)), len(specs))
    together = {number: farm.submit(send=False, **specs[number]) for number in order}
    until("some are running", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") >= 2)
    os.kill(child_of(first), signal.SIGKILL)
    farm.wait_done(120)
    for number, job in together.items():
        assert np.array_equal(pixels(farm, store, job), alone[number]), specs[number]
