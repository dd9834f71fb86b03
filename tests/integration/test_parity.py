"""Equal to diffusers: each spec's image against the stock pipelines called with the same arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.validation import complete
from tests.rig import Rig, largest_difference, stock_image, with_bucket

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel

NAMED = {
    "euler": {"sampler": "euler"},
    "euler-ancestral": {"sampler": "euler_ancestral"},
    "dpmpp-2m-karras": {"sampler": "dpmpp_2m", "sigma_schedule": "karras"},
    "heun": {"sampler": "heun"},
    "ddim": {"sampler": "ddim"},
}
REFINED: dict[str, Any] = {"refiner": RefinerSpec()}
OTHERS: dict[str, dict[str, Any]] = {
    "two prompts": {"prompt_2": "a green square", "negative_prompt": "red", "negative_prompt_2": "dark"},
    "empty negative": {"negative_prompt": ""},
    "empty negative, refined": {"negative_prompt": "", **REFINED},
    "second negative alone": {"negative_prompt_2": "dark"},
    "unguided": {"guidance_scale": 1.0, "negative_prompt": "red"},
    "unguided, refined": {"guidance_scale": 0.5, **REFINED},
    "rescaled guidance": {"guidance_scale": 9.0, "guidance_rescale": 0.7, **REFINED},
    "clip skip": {"clip_skip": 1, "negative_prompt": "red", **REFINED},
    "not square": {"width": 104, "height": 72, **REFINED},
    "sizes": {"original_size": (32, 64), "target_size": (96, 64), "crops_coords_top_left": (8, 16)},
    "sizes, refined": {"original_size": (32, 64), "crops_coords_top_left": (8, 16), **REFINED},
    "negative sizes": {
        "negative_original_size": (16, 16),
        "negative_target_size": (256, 256),
        "negative_crops_coords_top_left": (4, 8),
        **REFINED,
    },
    "one negative size alone": {"negative_target_size": (256, 256), **REFINED},
    "negative crop alone": {"negative_crops_coords_top_left": (16, 16), **REFINED},
    "timesteps": {"timesteps": (999, 800, 500, 200, 30), **REFINED},
    "sigmas": {"sigmas": (14.6, 6.3, 2.1, 0.7, 0.2, 0.0), **REFINED},
    "eta": {"sampler": "ddim", "eta": 0.7, **REFINED},
    "trailing": {"timestep_spacing": "trailing", "sigma_schedule": "beta", **REFINED},
    "early split": {"refiner": RefinerSpec(high_noise_frac=0.3)},
    "refiner's own": {
        "refiner": RefinerSpec(guidance_scale=2.5, aesthetic_score=9.0, negative_aesthetic_score=1.0)
    },
    "unguided base, guided refiner": {"guidance_scale": 1.0, "refiner": RefinerSpec(guidance_scale=6.0)},
    "one step": {"num_inference_steps": 1},
    "long prompt": {"prompt": "a red circle on a blue field " * 20, **REFINED},
    "no prompt": {"prompt": ""},
    "a sampler that settles late": {"sampler": "dpmpp_single", **REFINED},
    "noise of its own": {"sampler": "dpmpp_sde", **REFINED},
}
PROMISED = {**NAMED, **{f"{name}, refined": {**fields, **REFINED} for name, fields in NAMED.items()}}
CASES = {**PROMISED, **OTHERS}


def spec_of(entry: ModelEntry, fields: dict[str, Any]) -> RenderSpec:
    given = {"prompt": "a red circle", "num_inference_steps": 7, "width": 64, "height": 64, **fields}
    return complete(RenderSpec(**given), entry)


@pytest.fixture(scope="module")
def alone(tiny: LoadedModel):
    with Rig(with_bucket(tiny, 1)) as rig:
        yield rig


@pytest.mark.parametrize("name", CASES)
def test_a_bucket_of_one_gives_stocks_image(
    name: str, alone: Rig, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    spec = spec_of(tiny_entry, CASES[name])
    farm = alone.picture(alone.submit(spec, seed=4711))
    assert largest_difference(farm.pixels, stock_image(tiny, spec, 4711)) == 0


@pytest.mark.parametrize(
    "cases", [pytest.param(PROMISED, id="promised"), pytest.param(CASES, id="all", marks=pytest.mark.long)]
)
def test_a_mixed_bucket_stays_within_the_floor(
    cases: dict[str, dict[str, Any]], tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    """The floor: how far stock moves from itself when its initial latents are moved by 1e-6."""
    specs = [(spec_of(tiny_entry, fields), 100 + seed) for seed, fields in enumerate(cases.values())]
    with Rig(with_bucket(tiny, 8)) as rig:
        farm = rig.pictures(specs)
    beyond = {}
    for name, (spec, seed), picture in zip(cases, specs, farm, strict=True):
        stock = stock_image(tiny, spec, seed)
        floor = max(
            largest_difference(stock, stock_image(tiny, spec, seed, nudge=nudge)) for nudge in (1e-6, -1e-6)
        )
        found = largest_difference(picture.pixels, stock)
        if found > max(floor, 1):
            beyond[name] = (found, floor)
    assert beyond == {}
