"""Defaults and limits of an entry, as few-step models need them."""

from __future__ import annotations

import pytest

from latentfarm.errors import InvalidInput
from latentfarm.registry import ModelEntry
from latentfarm.spec import RenderSpec
from latentfarm.validation import complete

LIGHTNING = ModelEntry(
    name="lightning",
    base="/nowhere",
    timestep_spacing="trailing",
    steps=4,
    max_steps=8,
    guidance_scale=0.0,
    max_guidance=2.0,
)


def done(**fields: object) -> RenderSpec:
    return complete(RenderSpec.model_validate({"prompt": "a", **fields}), LIGHTNING)


def test_what_the_user_left_open_is_the_entrys() -> None:
    spec = done()
    assert (spec.num_inference_steps, spec.guidance_scale, spec.sampler) == (4, 0.0, "euler")
    assert spec.timestep_spacing == "trailing"


def test_what_the_user_gave_stays() -> None:
    spec = done(num_inference_steps=2, guidance_scale=1.5, sampler="heun", timestep_spacing="linspace")
    assert (spec.num_inference_steps, spec.guidance_scale, spec.sampler) == (2, 1.5, "heun")
    assert spec.timestep_spacing == "linspace"


def test_a_complete_spec_stays_as_it_is() -> None:
    assert complete(done(), LIGHTNING) == done()


def test_a_schedule_of_ones_own_is_left_alone() -> None:
    spec = done(timesteps=(999, 500))
    assert (spec.timesteps, spec.timestep_spacing) == ((999, 500), None)


def test_a_sampler_without_spacings_gets_none() -> None:
    assert done(sampler="dpmpp_single").timestep_spacing is None


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"num_inference_steps": 9}, "num_inference_steps", "1 to 8"),
        ({"timesteps": tuple(range(900, 0, -100))}, "timesteps", "1 to 8"),
        ({"sigmas": tuple(float(n) for n in range(9, -1, -1))}, "sigmas", "1 to 8"),
        ({"guidance_scale": 2.5}, "guidance_scale", "0 to 2"),
    ],
)
def test_more_than_the_model_is_made_for_is_refused(
    fields: dict[str, object], field: str, allowed: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        done(**fields)
    assert (refused.value.field, refused.value.allowed) == (field, allowed)


def test_an_ordinary_model_has_diffusers_defaults() -> None:
    spec = complete(RenderSpec(prompt="a"), ModelEntry(name="plain", base="/nowhere"))
    assert (spec.num_inference_steps, spec.guidance_scale, spec.timestep_spacing) == (50, 5.0, None)
