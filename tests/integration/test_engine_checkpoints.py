"""Interrupted and taken up by another engine, a render is equal to the bit, wherever that happened."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import diffusers
import pytest
import torch

from latentfarm.errors import InvalidInput
from latentfarm.samplers import SAMPLERS
from latentfarm.validation import complete
from tests.integration.test_engine_modes import (
    AGAIN,
    ENSEMBLE,
    IMAGE,
    MASKED,
    ONLY,
    given,
    nine,
    pictures,
)
from tests.interrupting import order_of, run_both, same, step
from tests.rig import with_bucket
from worker import checkpoints
from worker.engine.checkpoint import snapshot
from worker.engine.prepare import prepare

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel

__all__ = ["nine"]  # a fixture of modes
EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "prediction_type": "epsilon"}
EVERY = range(1, 100)
QUICK = {"euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "heun", "lms", "pndm", "unipc", "edm_dpmpp_2m"}
"""Samplers that remember in different ways; `make full` has all."""
MODES: dict[str, dict[str, Any]] = {
    "text": {},
    "ensemble": ENSEMBLE,
    "again": AGAIN,
    "image": IMAGE,
    "image, ensemble": {**IMAGE, **ENSEMBLE},
    "image, again": {**IMAGE, **AGAIN},
    "mask": MASKED,
    "mask, ensemble": {**MASKED, **ENSEMBLE},
    "mask, again": {**MASKED, **AGAIN},
    "mask from noise, cropped": {**MASKED, "strength": 1.0, "padding_mask_crop": 6},
    "only": ONLY,
}


@pytest.fixture(scope="module")
def edm(tiny: LoadedModel) -> LoadedModel:
    """As if trained for EDM. Its pictures are none, but they must be the same ones."""
    pipelines = {}
    for stage, stock in tiny.pipelines.items():
        pipelines[stage] = copy.copy(stock)
        pipelines[stage].scheduler = diffusers.EDMEulerScheduler(**EDM)
    return dataclasses.replace(tiny, pipelines=pipelines)


def spec_of(entry: ModelEntry, name: str, **fields: Any) -> RenderSpec:
    """A reproducible spec of a sampler, with noise of its own where it takes any."""
    row = SAMPLERS[name]
    wanted = {"reproducible": True, **({"eta": 0.6} if row.takes_eta else {}), **fields}
    if row.family == "edm":  # the tiny model's entry would refuse it
        return complete(given(wanted), entry).model_copy(update={"sampler": name})
    return complete(given({**wanted, "sampler": name}), entry)


def assert_equal_interrupted(
    spec: RenderSpec, model: LoadedModel, stops: Any, *, fields: dict[str, Any] | None = None
) -> None:
    order = order_of(spec, 5, pictures(5, fields or {}))
    assert same(run_both(order, model), run_both(order, model, stops))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in SAMPLERS]
)
def test_every_sampler_goes_on_from_every_step(
    name: str, tiny: LoadedModel, edm: LoadedModel, tiny_entry: ModelEntry
) -> None:
    """Through both stages, so that each sampler also begins in the middle of its timetable."""
    if SAMPLERS[name].family == "edm":
        assert_equal_interrupted(spec_of(tiny_entry, name, **AGAIN), with_bucket(edm, 1), EVERY)
    else:
        assert_equal_interrupted(spec_of(tiny_entry, name, **ENSEMBLE), with_bucket(tiny, 1), EVERY)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_goes_on_from_every_step(mode: str, tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    fields = MODES[mode]
    spec = spec_of(tiny_entry, "euler_ancestral", **fields)
    assert_equal_interrupted(spec, with_bucket(tiny, 1), EVERY, fields=fields)


@pytest.mark.long
@pytest.mark.parametrize("stops", [(3,), EVERY], ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_in_every_mode(
    name: str, mode: str, stops: Any, tiny: LoadedModel, edm: LoadedModel, tiny_entry: ModelEntry
) -> None:
    fields = MODES[mode]
    model = edm if SAMPLERS[name].family == "edm" else tiny
    try:
        spec = spec_of(tiny_entry, name, **fields)
    except InvalidInput:
        pytest.skip("refused at submit")
    if model is edm and spec.refiner is not None and spec.refiner.split is not None:
        pytest.skip("models of the EDM kind have no such split")
    assert_equal_interrupted(spec, model, stops, fields=fields)


@pytest.mark.parametrize("schedule", ["karras", "exponential", "beta"])
def test_sigma_schedules(schedule: str, tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    spec = spec_of(tiny_entry, "dpmpp_sde", sigma_schedule=schedule, num_inference_steps=4)
    assert_equal_interrupted(spec, with_bucket(tiny, 1), EVERY)


def test_a_unet_of_nine_channels(nine: LoadedModel, tiny_entry: ModelEntry) -> None:
    spec = spec_of(tiny_entry, "ddpm", **MASKED)
    assert_equal_interrupted(spec, with_bucket(nine, 1), (1, 3), fields=MASKED)


@pytest.mark.parametrize("field", ["latents", "generator", "sampler"])
def test_nothing_that_is_kept_is_kept_in_vain(field: str, tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    """Leaving one of them as a fresh start has it makes another picture."""
    order = order_of(spec_of(tiny_entry, "dpmpp_2m_sde"), 5)
    with torch.inference_mode():
        sample, fresh, whole = (prepare(order, tiny) for _ in range(3))
        for each in (sample, sample, sample, whole, whole, whole):
            step(each, tiny)
        kept = snapshot(sample)
        state = {**kept.state, field: snapshot(fresh).state[field]}
        spoilt = prepare(dataclasses.replace(order, checkpoint=dataclasses.replace(kept, state=state)), tiny)
        for each in (spoilt, spoilt, whole, whole):
            step(each, tiny)
    assert not torch.equal(spoilt.latents, whole.latents)


def test_memory_layouts_are_kept(tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    """An encoded picture has its channels last, and kernels round by it."""
    order = order_of(spec_of(tiny_entry, "dpmpp_2m", **IMAGE), 5, pictures(5, IMAGE))
    with torch.inference_mode():
        sample = prepare(order, tiny)
        step(sample, tiny)
        kept = checkpoints.unpack(checkpoints.pack(snapshot(sample)))
        again = prepare(dataclasses.replace(order, checkpoint=kept), tiny)
    assert not sample.latents.is_contiguous()
    assert again.latents.stride() == sample.latents.stride()
