"""Modes beside each other, UNets made for inpainting, and what a stage refuses to start from."""

from __future__ import annotations

import copy
import dataclasses
import random
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from latentfarm.errors import LatentsError, RenderError, SpecError
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.drawing import drawn_mask, drawn_picture
from tests.rig import Rig, largest_difference, with_bucket
from tests.stock_modes import stock_picture
from worker.engine.model import load_model
from worker.engine.order import Handover, Inputs

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel
    from worker.engine.order import Picture

NAME = "sha256:" + "0" * 64
IMAGE = {"image": NAME, "strength": 0.7}
MASKED = {**IMAGE, "mask_image": NAME}
ENSEMBLE = {"refiner": {"high_noise_frac": 0.6}}
ONLY = {"image": NAME, "refiner": {"mode": "only", "strength": 0.6}}
AGAIN = {"refiner": {"mode": "image", "strength": 0.5, "num_inference_steps": 4}}
TOGETHER: list[dict[str, Any]] = [
    {},
    ENSEMBLE,
    AGAIN,
    {"sampler": "heun"},
    IMAGE,
    {**IMAGE, **ENSEMBLE, "sampler": "euler_ancestral"},
    {**IMAGE, **AGAIN, "guidance_scale": 1.0},
    {**IMAGE, "sampler": "dpmpp_2m", "sigma_schedule": "karras"},
    MASKED,
    {**MASKED, **ENSEMBLE, "sampler": "ddpm"},
    {**MASKED, **AGAIN, "guidance_scale": 9.0, "guidance_rescale": 0.5},
    {**MASKED, "padding_mask_crop": 6, "sampler": "euler_ancestral"},
    ONLY,
    {**ONLY, "guidance_scale": 1.0, "sampler": "ddpm"},
]


def pictures(seed: int, fields: dict[str, Any]) -> Inputs | None:
    if "image" not in fields:
        return None
    return Inputs(drawn_picture(seed), drawn_mask(seed) if "mask_image" in fields else None)


def given(fields: dict[str, Any]) -> RenderSpec:
    common = {"prompt": "a red circle", "num_inference_steps": 6, "width": 64, "height": 64}
    return RenderSpec.model_validate({**common, **fields})


def test_each_alone_and_all_together_are_bit_equal(tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    """What an encoded picture's memory layout does to a shared forward, this would see too."""
    wishes = [
        (complete(given({**fields, "reproducible": True}), tiny_entry), seed, pictures(seed, fields))
        for seed, fields in enumerate(TOGETHER)
    ]

    def render(rig: Rig, indices: list[int]) -> dict[int, Picture]:
        orders = {i: rig.submit(wishes[i][0], wishes[i][1], inputs=wishes[i][2]) for i in indices}
        return {i: rig.picture(order) for i, order in orders.items()}

    alone: dict[int, Picture] = {}
    for i in range(len(wishes)):
        with Rig(tiny) as rig:
            alone |= render(rig, [i])
    with Rig(tiny) as rig:
        together = render(rig, random.Random(3).sample(range(len(wishes)), len(wishes)))
        assert rig.engine.counters.rows > 2 * rig.engine.counters.forwards, "they were not batched"
    assert [i for i in alone if not torch.equal(alone[i].pixels, together[i].pixels)] == []


def test_shared_forwards_have_one_memory_layout(tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    """An encoded picture has its channels last, noise has not, and kernels round by it."""
    contiguous: list[bool] = []
    unet = tiny.pipelines[Stage.BASE].unet
    handle = unet.register_forward_pre_hook(lambda _, inputs: contiguous.append(inputs[0].is_contiguous()))
    spec = complete(given(IMAGE), tiny_entry)
    try:
        for bucket in (1, 8):
            with Rig(with_bucket(tiny, bucket)) as rig:
                rig.picture(rig.submit(spec, 5, inputs=pictures(5, IMAGE)))
    finally:
        handle.remove()
    assert contiguous == 4 * [False] + 4 * [True], "as stock alone; one layout in a bucket"


@pytest.fixture(scope="module")
def nine(tiny: LoadedModel) -> LoadedModel:
    """The tiny base with a UNet that is shown mask and picture, by seeded weights for the new channels."""
    pipe = copy.copy(tiny.pipelines[Stage.BASE])
    narrow = pipe.unet
    wide = UNet2DConditionModel.from_config({**narrow.config, "in_channels": 9})
    weights = dict(narrow.state_dict())
    kernel = weights["conv_in.weight"]
    extra = torch.randn((kernel.shape[0], 5, 3, 3), generator=torch.Generator().manual_seed(9))
    weights["conv_in.weight"] = torch.cat([kernel, 0.05 * extra], dim=1)
    wide.load_state_dict(weights)
    pipe.unet = wide.eval()
    return dataclasses.replace(tiny, pipelines={**tiny.pipelines, Stage.BASE: pipe})


@pytest.mark.parametrize(
    "fields",
    [
        MASKED,
        {**MASKED, "strength": 1.0, "sampler": "euler_ancestral"},
        {**MASKED, "guidance_scale": 1.0, "padding_mask_crop": 4},
        {**MASKED, **ENSEMBLE, "sampler": "ddpm"},
        {**MASKED, **AGAIN},
    ],
)
def test_a_unet_of_nine_channels_paints_as_stocks(
    fields: dict[str, Any], nine: LoadedModel, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    raw, inputs = given(fields), pictures(5, fields)
    spec = complete(raw, tiny_entry)
    with Rig(with_bucket(nine, 1)) as rig:
        farm = rig.picture(rig.submit(spec, 5, inputs=inputs)).pixels
    assert largest_difference(farm, stock_picture(nine, raw, 5, inputs)) == 0
    assert largest_difference(farm, stock_picture(tiny, raw, 5, inputs)) > 8, "the new channels do nothing"


def test_a_unet_of_nine_channels_does_nothing_else(nine: LoadedModel, tiny_entry: ModelEntry) -> None:
    with Rig(nine) as rig:
        for fields in ({}, IMAGE):
            order = rig.submit(complete(given(fields), tiny_entry), 5, inputs=pictures(5, fields))
            assert isinstance(rig.result(order), SpecError)


@pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning")  # stock calls it itself
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_encodes_as_stock(dtype: str, tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    """Where the VAE is held in another precision than stock encodes in, and stays so."""
    half = load_model(tiny_entry, [Stage.BASE, Stage.REFINE], dtype=dtype)
    held = half.pipelines[Stage.BASE].vae.dtype
    wrong = {}
    with Rig(with_bucket(half, 1)) as rig:
        for seed, fields in enumerate(({**IMAGE, **ENSEMBLE}, {**MASKED, "sampler": "euler_ancestral"})):
            raw, inputs = given(fields), pictures(seed, fields)
            farm = rig.picture(rig.submit(complete(raw, tiny_entry), seed, inputs=inputs)).pixels
            wrong[seed] = largest_difference(farm, stock_picture(half, raw, seed, inputs))
    assert wrong == {0: 0, 1: 0}
    assert half.pipelines[Stage.BASE].vae.dtype is held


@pytest.mark.parametrize(
    ("base", "refine", "entry"),
    [
        ({**IMAGE, **ENSEMBLE}, {**IMAGE, **ENSEMBLE, "strength": 0.8}, "strength"),
        ({**IMAGE, **ENSEMBLE}, ENSEMBLE, "mode"),
        ({**IMAGE, **ENSEMBLE}, {**MASKED, **ENSEMBLE}, "mode"),
        ({**IMAGE, **ENSEMBLE}, {**IMAGE, "refiner": {"high_noise_frac": 0.7}}, "split"),
        (AGAIN, ENSEMBLE, "sampler_config"),
        (AGAIN, {**AGAIN, "sampler": "ddim"}, "sampler"),
        (AGAIN, {**AGAIN, "sigma_schedule": "karras"}, "sampler_config"),
        (AGAIN, {**AGAIN, "num_inference_steps": 7}, "steps"),
    ],
)
def test_latents_of_another_spec_are_refused(
    base: dict[str, Any], refine: dict[str, Any], entry: str, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    with Rig(tiny) as rig:
        first = complete(given(base), tiny_entry)
        handover = rig.result(rig.submit(first, 5, inputs=pictures(5, base)))
        assert isinstance(handover, Handover)
        second = complete(given(refine), tiny_entry)
        fields = {"stage": Stage.REFINE, "handover": handover, "inputs": pictures(5, refine)}
        error = rig.result(rig.submit(second, 5, **fields))
        assert isinstance(error, LatentsError)
        assert f"made with {entry} " in str(error)
        # What the refiner does of its own is no reason to refuse.
        own = complete(given({**base, "refiner": {**base["refiner"], "guidance_scale": 2.0}}), tiny_entry)
        assert not isinstance(rig.result(rig.submit(own, 5, **fields)), RenderError)


@pytest.mark.parametrize(
    ("fields", "inputs", "message"),
    [
        (IMAGE, None, "did not come"),
        (MASKED, Inputs(drawn_picture(1)), "did not come"),
        (MASKED, Inputs(drawn_picture(1), drawn_mask(1, 72, 64)), "mask_image is"),
        (
            {**MASKED, "padding_mask_crop": 4},
            Inputs(drawn_picture(1), Image.new("L", (64, 64))),
            "black all over",
        ),
    ],
)
def test_pictures_that_do_not_fit_end_the_render(
    fields: dict[str, Any], inputs: Inputs | None, message: str, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    with Rig(tiny) as rig:
        error = rig.result(rig.submit(complete(given(fields), tiny_entry), inputs=inputs))
    assert isinstance(error, SpecError)
    assert message in str(error)


def test_a_transparent_picture_is_read_as_diffusers_reads_it(
    tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    inputs = pictures(4, MASKED)
    assert inputs is not None
    assert inputs.mask is not None
    other = Inputs(inputs.image.convert("RGBA"), inputs.mask.convert("1"))
    spec = complete(given(MASKED), tiny_entry)
    with Rig(with_bucket(tiny, 1)) as rig:
        first, second = (rig.picture(rig.submit(spec, 4, inputs=each)) for each in (inputs, other))
    assert torch.equal(first.pixels, second.pixels)
