"""Samplers that are copied from one of their kind: each as diffusers would have made it."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from latentfarm.errors import SpecError
from latentfarm.samplers import SAMPLERS
from latentfarm.spec import RenderSpec
from worker.engine.sampler import Samplers


def config(beta_schedule: str) -> Any:
    made: Any = diffusers.EulerDiscreteScheduler(beta_schedule=beta_schedule)
    return made.config


CONFIG = config("scaled_linear")


def same(one: Any, other: Any) -> bool:
    """Whether two values are alike, arrays and what holds them too."""
    if isinstance(one, torch.Tensor | np.ndarray):
        # NaN is what two of the classes leave at the end of their sigmas.
        return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if callable(one):  # a method of each is bound to its own
        return callable(other)
    return bool(one == other)


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_copy_is_as_new(name: str) -> None:
    samplers, spec = Samplers(), RenderSpec(prompt="a", sampler=name)
    used, unused = samplers.build(spec, CONFIG, 1), vars(samplers.build(spec, CONFIG, 1))
    used.set_timesteps(5)
    used.alphas_cumprod = None
    again, made = vars(samplers.build(spec, CONFIG, 1)), vars(Samplers().build(spec, CONFIG, 1))
    for found in (again, made):
        assert found.keys() == unused.keys()
        assert [key for key in unused if not same(found[key], unused[key])] == []


def test_a_kind_is_its_settings_and_the_models_own() -> None:
    samplers = Samplers()
    other = config("linear")
    spec = RenderSpec(prompt="a", sampler="euler")
    karras = RenderSpec(prompt="a", sampler="euler", sigma_schedule="karras")
    found = [samplers.build(*of, 1).config for of in ((spec, CONFIG), (karras, CONFIG), (spec, other))]
    assert [(one.use_karras_sigmas, one.beta_schedule) for one in found] == [
        (False, "scaled_linear"),
        (True, "scaled_linear"),
        (False, "linear"),
    ]


@pytest.mark.parametrize("name", [name for name, row in SAMPLERS.items() if row.seeds_itself])
def test_one_with_a_noise_source_of_its_own_has_the_images_seed(name: str) -> None:
    samplers, spec = Samplers(), RenderSpec(prompt="a", sampler=name)
    assert [samplers.build(spec, CONFIG, seed).config.noise_sampler_seed for seed in (1, 2, 1)] == [1, 2, 1]


def test_what_is_no_sampler_is_refused() -> None:
    spec = RenderSpec(prompt="a").model_copy(update={"sampler": "none"})
    with pytest.raises(SpecError, match="none"):
        Samplers().build(spec, CONFIG, 1)
