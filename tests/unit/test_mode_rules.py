"""Which fields belong to which mode, what they are when absent, and what is refused at submit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.errors import InvalidInput
from latentfarm.mode_rules import fit_pictures
from latentfarm.modes import Mode, mode_of, needs_inputs
from latentfarm.registry import ModelEntry
from latentfarm.spec import RenderSpec
from latentfarm.stages import evaluations_of
from latentfarm.states import Stage
from latentfarm.validation import complete

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = ModelEntry(
    name="toy",
    base="/nowhere/base",
    refiner="/nowhere/refiner",
    native_size=(96, 128),
    min_size=64,
    max_size=256,
    sampler="ddim",
)
IMAGE: dict[str, Any] = {"image": "sha256:" + "0" * 64}
MASKED: dict[str, Any] = {**IMAGE, "mask_image": "sha256:" + "1" * 64}
ONLY: dict[str, Any] = {**IMAGE, "refiner": {"mode": "only"}}


def spec(**fields: Any) -> RenderSpec:
    return RenderSpec.model_validate({"model": "toy", "prompt": "a", **fields})


@pytest.mark.parametrize(
    ("fields", "mode", "stages"),
    [
        ({}, Mode.TEXT, []),
        (IMAGE, Mode.IMAGE, [Stage.BASE]),
        (MASKED, Mode.INPAINT, [Stage.BASE, Stage.REFINE]),
        (ONLY, Mode.IMAGE, [Stage.REFINE]),
    ],
)
def test_the_pictures_decide_the_mode(fields: dict[str, Any], mode: Mode, stages: list[Stage]) -> None:
    assert mode_of(spec(**fields)) is mode
    assert [stage for stage in Stage if needs_inputs(spec(**fields), stage)] == stages


@pytest.mark.parametrize(
    ("fields", "guidance", "strength", "size"),
    [
        ({}, 5.0, None, (96, 128)),
        (IMAGE, 5.0, 0.3, (None, None)),
        (MASKED, 7.5, 0.9999, (96, 128)),
        ({**MASKED, "guidance_scale": 0.0, "strength": 0.5, "width": 64}, 0.0, 0.5, (96, 64)),
        (ONLY, 5.0, None, (None, None)),
    ],
)
def test_what_is_absent_is_stocks_default_for_the_mode(
    fields: dict[str, Any], guidance: float, strength: float | None, size: tuple[int | None, int | None]
) -> None:
    full = complete(spec(**fields), ENTRY)
    assert (full.guidance_scale, full.strength, (full.height, full.width)) == (guidance, strength, size)
    assert complete(full, ENTRY) == full
    assert complete(RenderSpec.model_validate(full.model_dump()), ENTRY) == full


def test_the_refiners_fields_follow_its_mode() -> None:
    for refiner, found in (
        ({}, ("ensemble", 0.8, None, 20, 5.0)),
        ({"mode": "image"}, ("image", None, 0.3, 20, 5.0)),
        ({"mode": "only", "guidance_scale": 3.0}, ("only", None, 0.3, 20, 3.0)),
        (
            {"mode": "image", "strength": 0.5, "num_inference_steps": 8, "guidance_scale": 2.0},
            ("image", None, 0.5, 8, 2.0),
        ),
    ):
        image = IMAGE if found[0] == "only" else {}
        full = complete(spec(refiner=refiner, num_inference_steps=20, **image), ENTRY)
        own = full.refiner
        assert own is not None
        assert (
            own.mode,
            own.high_noise_frac,
            own.strength,
            own.num_inference_steps,
            own.guidance_scale,
        ) == found
        assert complete(RenderSpec.model_validate(full.model_dump()), ENTRY) == full
    inpainting = complete(spec(**MASKED, refiner={}), ENTRY).refiner
    assert inpainting is not None
    assert inpainting.guidance_scale == 7.5


@pytest.mark.parametrize(
    ("fields", "field", "word"),
    [
        ({"strength": 0.5}, "strength", "with image"),
        ({"mask_image": "sha256:"}, "mask_image", "with image"),
        ({**IMAGE, "padding_mask_crop": 8}, "padding_mask_crop", "with mask_image"),
        ({"padding_mask_crop": 0}, "padding_mask_crop", "with mask_image"),
        ({**MASKED, "padding_mask_crop": 8, "refiner": {}}, "padding_mask_crop", "without a refiner"),
        ({"refiner": {"strength": 0.3}}, "refiner.strength", "mode `image`"),
        (
            {"refiner": {"mode": "image", "high_noise_frac": 0.8}},
            "refiner.high_noise_frac",
            "mode `ensemble`",
        ),
        ({"refiner": {"num_inference_steps": 20}}, "refiner.num_inference_steps", "one schedule"),
        (
            {
                "refiner": {"mode": "image", "num_inference_steps": 20},
                "sampler": "euler",
                "timesteps": [900, 500, 100],
            },
            "refiner.num_inference_steps",
            "timesteps",
        ),
        ({**IMAGE, "strength": 0.0}, "strength", "no step"),
        ({**IMAGE, "strength": 0.33, "num_inference_steps": 3}, "strength", "no step"),
        ({**MASKED, "num_inference_steps": 1}, "strength", "no step"),
        ({"refiner": {"mode": "image"}, "num_inference_steps": 3}, "refiner.strength", "no step"),
        ({**IMAGE, "strength": 0.1, "refiner": {}}, "refiner.high_noise_frac", "base no step"),
        ({**IMAGE, "refiner": {"high_noise_frac": 0.5}}, "refiner.high_noise_frac", "base no step"),
        ({**IMAGE, "refiner": {"high_noise_frac": 0.999}}, "refiner.high_noise_frac", "refiner no step"),
        # Of a schedule of their own, samplers of order 2 count evaluations twice: stock begins past its end.
        (
            {**IMAGE, "sampler": "heun", "timesteps": [900, 700, 500, 300, 100], "strength": 0.5},
            "strength",
            "no step",
        ),
        ({**IMAGE, "width": 512}, "width", "64 to 256"),
        ({"refiner": {"mode": "only"}}, "image", "a picture"),
        ({**ONLY, **MASKED}, "mask_image", "leave it out"),
        ({**ONLY, "strength": 0.5}, "strength", "refiner.strength"),
        (
            {**IMAGE, "refiner": {"mode": "only", "high_noise_frac": 0.8}},
            "refiner.high_noise_frac",
            "ensemble",
        ),
        ({**IMAGE, "refiner": {"mode": "only", "strength": 0.01}}, "refiner.strength", "no step"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], field: str, word: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        complete(spec(**fields), ENTRY)
    assert caught.value.field == field
    assert word in str(caught.value)


def test_image_to_image_has_the_pictures_size_in_whole_latents() -> None:
    full = complete(spec(**IMAGE), ENTRY)
    fitted = fit_pictures(full, ENTRY, (71, 130))
    assert (fitted.height, fitted.width) == (64, 128)
    assert complete(fitted, ENTRY) == fitted
    wide = fit_pictures(complete(spec(**IMAGE, width=256), ENTRY), ENTRY, (71, 130))
    assert (wide.height, wide.width) == (64, 256)
    inpainting = complete(spec(**MASKED), ENTRY)
    assert fit_pictures(inpainting, ENTRY, (500, 700), (500, 700)) == inpainting


@pytest.mark.parametrize(
    ("image", "mask", "field", "allowed"),
    [
        ((63, 100), None, "image", "64 to 256"),
        ((64, 264), None, "image", "64 to 256"),
        ((100, 80), (80, 100), "mask_image", "80x100"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    image: tuple[int, int], mask: tuple[int, int] | None, field: str, allowed: str
) -> None:
    full = complete(spec(**(MASKED if mask else IMAGE)), ENTRY)
    with pytest.raises(InvalidInput) as caught:
        fit_pictures(full, ENTRY, image, mask)
    assert caught.value.field == field
    assert allowed in caught.value.allowed


@pytest.mark.parametrize(
    ("image", "fitted"),
    [
        ((71, 130), (64, 128)),
        ((256, 71), (256, 64)),
        ((3024, 4032), (96, 128)),
        ((63, 100), (88, 136)),
        ((4000, 200), (256, 64)),
    ],
)
def test_pictures_that_do_not_fit_are_scaled_where_that_is_asked(
    image: tuple[int, int], fitted: tuple[int, int]
) -> None:
    full = fit_pictures(complete(spec(**IMAGE), ENTRY), ENTRY, image, scale=True)
    assert (full.height, full.width) == fitted
    wide = fit_pictures(complete(spec(**IMAGE, width=256), ENTRY), ENTRY, image, scale=True)
    assert (wide.height, wide.width) == (fitted[0], 256)


def test_a_scaled_picture_is_within_limits_that_are_no_whole_latents() -> None:
    entry = ENTRY.model_copy(update={"min_size": 61, "max_size": 255})
    full = fit_pictures(complete(spec(**IMAGE), entry), entry, (4000, 200), scale=True)
    assert (full.height, full.width) == (248, 64)


def test_a_unet_of_nine_channels_only_paints_into_pictures(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"in_channels": 9}))
    entry = ENTRY.model_copy(update={"base": str(tmp_path)})
    assert complete(spec(**MASKED), entry).strength == 0.9999
    assert complete(spec(**ONLY), entry).refiner is not None, "its refiner has a UNet of its own"
    for fields in ({}, IMAGE):
        with pytest.raises(InvalidInput) as caught:
            complete(spec(**fields), entry)
        assert caught.value.field == "mask_image"


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, (20, 0)),
        ({**IMAGE, "strength": 0.5}, (10, 0)),
        ({**IMAGE, "strength": 0.55, "sampler": "heun"}, (21, 0)),
        ({**MASKED}, (19, 0)),
        ({**IMAGE, "strength": 0.5, "refiner": {}}, (6, 4)),
        ({**MASKED, "strength": 1.0, "refiner": {}}, (16, 4)),
        ({"refiner": {"mode": "image", "num_inference_steps": 12}}, (20, 3)),
        ({**IMAGE, "refiner": {"mode": "image", "strength": 1.0}}, (6, 20)),
        ({**IMAGE, "sampler": "euler", "timesteps": [900, 600, 300, 1], "strength": 0.5}, (2, 0)),
        (ONLY, (0, 6)),
        ({**IMAGE, "refiner": {"mode": "only", "num_inference_steps": 8, "strength": 0.5}}, (0, 4)),
    ],
)
def test_evaluations_of_each_stage(fields: dict[str, Any], counts: tuple[int, int]) -> None:
    full = complete(spec(num_inference_steps=20, **fields), ENTRY)
    assert evaluations_of(full, ENTRY) == counts
