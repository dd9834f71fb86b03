"""What becomes of a job's spec when it is refined again: what stays, what changes, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from latentfarm.adapters import LoraEntry
from latentfarm.errors import InvalidInput
from latentfarm.refinement import RefineRequest, refined_spec, source_of
from latentfarm.registry import ModelEntry
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.validation import complete

ENTRY = ModelEntry(
    name="toy",
    base="/nowhere/base",
    refiner="/nowhere/refiner",
    native_size=(96, 128),
    min_size=64,
    max_size=256,
    sampler="ddim",
    loras={
        "line": LoraEntry(file="/nowhere/line.safetensors"),
        "fine": LoraEntry(file="/nowhere/fine.safetensors", stage="refine"),
    },
)
PICTURE = "sha256:" + "1" * 64
AGAIN: dict[str, Any] = {"mode": "image", "strength": 0.4, "num_inference_steps": 12, "guidance_scale": 3.0}


def job(**fields: Any) -> RenderSpec:
    given = {"model": "toy", "prompt": "a", "num_inference_steps": 20, "width": 96, "height": 64, **fields}
    return complete(RenderSpec.model_validate(given), ENTRY)


def refined(spec: RenderSpec, size: tuple[int, int] | None = None, **body: Any) -> RenderSpec:
    return refined_spec(spec, RefineRequest.model_validate(body), ENTRY, size)


@pytest.mark.parametrize(
    ("refiner", "source", "found"),
    [
        (None, None, "image"),
        ({}, None, "latents"),
        (AGAIN, None, "latents"),
        (AGAIN, "image", "image"),
        ({"mode": "only"}, None, "image"),
    ],
)
def test_the_source_follows_from_what_the_job_leaves(
    refiner: dict[str, Any] | None, source: Any, found: str
) -> None:
    spec = job(refiner=refiner, **({"image": PICTURE} if refiner == {"mode": "only"} else {}))
    assert source_of(spec, RefineRequest(source=source)) == found


@pytest.mark.parametrize("fields", [{}, {"image": PICTURE, "refiner": {"mode": "only"}}])
def test_a_job_that_leaves_no_latents_says_so(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="leaves no latents") as caught:
        source_of(job(**fields), RefineRequest(source="latents"))
    assert (caught.value.field, caught.value.allowed) == ("source", "image")


def test_latents_are_refined_with_what_the_request_says_and_the_job_said() -> None:
    spec = job(refiner={**AGAIN, "aesthetic_score": 7.0}, metadata={"a": "b"}, priority=2, keep_latents=5)
    assert refined(spec) == spec.model_copy(update={"metadata": {}})
    changed = refined(spec, refiner={"strength": 0.9, "aesthetic_score": 1.0, "guidance_scale": None})
    assert changed.refiner is not None
    assert changed.refiner.model_dump() == {
        "mode": "image",
        "high_noise_frac": None,
        "strength": 0.9,
        "num_inference_steps": 12,
        "guidance_scale": 3.0,
        "aesthetic_score": 1.0,
        "negative_aesthetic_score": 2.5,
    }
    assert changed.model_copy(update={"refiner": spec.refiner, "metadata": {"a": "b"}}) == spec


def test_null_does_not_move_the_split() -> None:
    spec = job(refiner={"high_noise_frac": 0.5})
    assert refined(spec, refiner={"high_noise_frac": None, "mode": "ensemble"}).refiner == spec.refiner
    assert refined(spec, refiner={"high_noise_frac": 0.5, "guidance_scale": 1.0}).refiner is not None


def test_what_belongs_to_the_job_can_be_changed() -> None:
    spec = job(refiner=AGAIN, reproducible=True)
    body: dict[str, Any] = {
        "output": {"format": "webp", "quality": 50},
        "reproducible": False,
        "lane": "bulk",
        "priority": -3,
        "keep_latents": 7,
        "metadata": {"c": "d"},
    }
    changed = refined(spec, **body).model_dump(mode="json")
    assert {name: changed[name] for name in body} == body
    with pytest.raises(InvalidInput) as caught:
        refined(job(refiner=AGAIN), reproducible=True)
    assert caught.value.field == "reproducible"
    assert refined(job(refiner=AGAIN), (64, 96), reproducible=True).reproducible


def test_another_format_begins_anew_and_another_quality_does_not() -> None:
    spec = job(refiner=AGAIN, output={"format": "webp", "quality": 50})
    assert refined(spec).output == spec.output
    assert refined(spec, output={"quality": 90}).output.model_dump() == {"format": "webp", "quality": 90}
    assert refined(spec, output={"format": "png"}).output.model_dump() == {"format": "png", "quality": None}
    for said in ({"format": "webp"}, {"quality": None}, {"format": "webp", "quality": None}):
        assert refined(spec, output=said).output == spec.output


def test_an_image_is_refined_by_the_refiner_alone() -> None:
    spec = job(
        image=PICTURE,
        mask_image=PICTURE,
        strength=0.7,
        refiner={"high_noise_frac": 0.6, "aesthetic_score": 7.0},
        loras=[{"name": "line"}, {"name": "fine", "weight": 0.5}],
        original_size=(10, 20),
        prompt_2="for the base alone",
    )
    changed = refined(spec, (72, 80), prompt="b", negative_prompt="c", refiner={"guidance_scale": 2.0})
    assert changed.refiner == RefinerSpec(
        mode="only", strength=0.3, num_inference_steps=20, guidance_scale=2.0, aesthetic_score=7.0
    )
    assert (changed.prompt, changed.negative_prompt, changed.prompt_2) == ("b", "c", None)
    assert (changed.mask_image, changed.strength, changed.padding_mask_crop) == (None, None, None)
    assert (changed.height, changed.width, changed.original_size) == (72, 80, (10, 20))
    assert [use.name for use in changed.loras] == ["fine"]
    assert complete(changed, ENTRY) == changed


@pytest.mark.parametrize("mode", ["image", "only"])
def test_both_words_for_image_to_image_mean_the_refiner_alone(mode: str) -> None:
    again = refined(job(refiner=AGAIN), (64, 96), refiner={"mode": mode})
    assert again.refiner is not None
    assert (again.refiner.mode, again.refiner.strength) == ("only", 0.4)


def test_images_that_the_model_does_not_take_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        refined(job(), (64, 300))
    assert caught.value.field == "source"


def test_a_model_without_a_refiner_refines_nothing() -> None:
    entry = ENTRY.model_copy(update={"refiner": None, "loras": {}})
    with pytest.raises(InvalidInput, match="toy has no refiner") as caught:
        refined_spec(job(), RefineRequest(), entry, (64, 96))
    assert caught.value.field == "refiner"
