"""The same promise over the parameter space rather than over a list: drawn sets, from one seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.errors import InvalidInput
from latentfarm.samplers import SAMPLERS, SPACINGS
from tests.rig import Rig, largest_difference, stock_image, with_bucket

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

SEED, SETS, CHUNK = 20, 240, 12


def draw_size(rng: random.Random) -> tuple[int, int]:
    return rng.choice([(64, 64), (16, 24), (256, 128), (0, 0), (1024, 1024)])


def draw(rng: random.Random) -> dict[str, Any]:
    """A spec's fields; each optional one is there about every third time."""
    sampler = rng.choice(sorted(SAMPLERS))
    row = SAMPLERS[sampler]
    fields: dict[str, Any] = {
        "prompt": rng.choice(["a red circle", "", "two green squares on black", "word " * 90]),
        "sampler": sampler,
        "num_inference_steps": rng.randint(1, 11),
        "guidance_scale": rng.choice([0.0, 1.0, 1.5, 5.0, 11.0]),
        "height": rng.choice([64, 72]),
        "width": rng.choice([64, 88]),
    }
    options: dict[str, Any] = {
        "prompt_2": rng.choice(["", "a blue triangle"]),
        "negative_prompt": rng.choice(["", "red, round"]),
        "negative_prompt_2": rng.choice(["", "dark"]),
        "guidance_rescale": rng.choice([0.0, 0.3, 1.0]),
        "clip_skip": rng.choice([0, 1]),
        "sigma_schedule": rng.choice(["default", *row.sigma_schedules]),
        "original_size": draw_size(rng),
        "target_size": draw_size(rng),
        "crops_coords_top_left": draw_size(rng),
        "negative_original_size": draw_size(rng),
        "negative_target_size": draw_size(rng),
        "negative_crops_coords_top_left": draw_size(rng),
    }
    if row.spacing is not None:
        options["timestep_spacing"] = rng.choice(SPACINGS)
    if row.takes_eta:
        options["eta"] = rng.choice([0.4, 1.0])
    if row.takes_timesteps and "sigma_schedule" not in fields and rng.random() < 0.2:
        fields["timesteps"] = sorted(rng.sample(range(1, 1000), rng.randint(2, 9)), reverse=True)
    elif row.takes_sigmas and rng.random() < 0.4:
        fields["sigmas"] = [*sorted((rng.uniform(0.1, 14) for _ in range(6)), reverse=True), 0.0]
    fields |= {name: value for name, value in options.items() if rng.random() < 0.35}
    if rng.random() < 0.6:
        fields["refiner"] = draw_refiner(rng)
    return fields


def draw_refiner(rng: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {"high_noise_frac": rng.choice([0.1, 0.37, 0.5, 0.8, 0.95])}
    options = {
        "guidance_scale": rng.choice([0.9, 3.0, 8.0]),
        "aesthetic_score": rng.uniform(1, 10),
        "negative_aesthetic_score": rng.uniform(1, 10),
    }
    return fields | {name: value for name, value in options.items() if rng.random() < 0.4}


def draw_specs(make: MakeSpec, count: int) -> list[tuple[RenderSpec, int]]:
    """Sets that the farm accepts; what it refuses is drawn again."""
    rng = random.Random(SEED)
    found: list[tuple[RenderSpec, int]] = []
    while len(found) < count:
        try:
            found.append((make(**draw(rng)), rng.randrange(2**53)))
        except InvalidInput:
            continue
    return found


@pytest.fixture(scope="module")
def specs(make: MakeSpec) -> list[tuple[RenderSpec, int]]:
    return draw_specs(make, SETS)


@pytest.fixture(scope="module")
def alone(tiny: LoadedModel):
    with Rig(with_bucket(tiny, 1)) as rig:
        yield rig


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(SETS // CHUNK))
def test_drawn_sets_give_stocks_images(
    chunk: int, specs: list[tuple[RenderSpec, int]], alone: Rig, tiny: LoadedModel
) -> None:
    wrong = {}
    for spec, seed in specs[chunk * CHUNK : (chunk + 1) * CHUNK]:
        farm = alone.picture(alone.submit(spec, seed)).pixels
        difference = largest_difference(farm, stock_image(tiny, spec, seed))
        if difference > 0:
            wrong[spec.model_dump_json(exclude_defaults=True)] = difference
    assert wrong == {}
