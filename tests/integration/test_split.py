"""A schedule split across two processes equals the two stock pipelines, for every sampler and split."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from latentfarm.noise import NoiseConfig
from latentfarm.samplers import SAMPLERS
from latentfarm.timesteps import evaluations
from tests.halves import Halves
from tests.rig import largest_difference, stock_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

STEPS = (7, 20, 25)
SPLITS = (0.1, 0.5, 0.8, 0.95)
SPLITTABLE = [name for name, row in SAMPLERS.items() if row.family == "discrete"]
SOME = ("euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "heun", "unipc")
"""One of each kind: without and with noise, of one and of several evaluations, with and without a memory."""


def counts(sampler: str, steps: int, split: float) -> tuple[int, int]:
    return evaluations(sampler, steps, config=NoiseConfig(), split=split)


def shared(sampler: str) -> list[tuple[int, float]]:
    """Step counts and splits at which both stages have something to do."""
    return [(steps, split) for steps in STEPS for split in SPLITS if all(counts(sampler, steps, split))]


@pytest.fixture(scope="module")
def halves() -> Iterator[Halves]:
    with Halves() as halves:
        yield halves


def check(sampler: str, steps: int, split: float, halves: Halves, tiny: LoadedModel, make: MakeSpec) -> None:
    spec = make(sampler=sampler, num_inference_steps=steps, refiner={"high_noise_frac": split})
    found, calls = halves.render(spec, 77)
    where = f"{sampler}, {steps} steps, split at {split}"
    assert largest_difference(found, stock_image(tiny, spec, 77)) == 0, where
    assert calls == counts(sampler, steps, split), where


@pytest.mark.parametrize("sampler", SOME)
def test_a_split_equals_stock(sampler: str, halves: Halves, tiny: LoadedModel, make: MakeSpec) -> None:
    """A fixed sample: one step count and split for each, drawn for good."""
    steps, split = random.Random(sampler).choice(shared(sampler))
    check(sampler, steps, split, halves, tiny, make)


@pytest.mark.long
@pytest.mark.parametrize("sampler", SPLITTABLE)
def test_every_split_equals_stock(sampler: str, halves: Halves, tiny: LoadedModel, make: MakeSpec) -> None:
    for steps, split in shared(sampler):
        check(sampler, steps, split, halves, tiny, make)


def test_most_splits_leave_both_stages_a_step() -> None:
    """Else the tests above would prove little."""
    found = {name: len(shared(name)) for name in SPLITTABLE}
    assert min(found.values()) >= 10, found
