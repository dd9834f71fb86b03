"""What a dataset may ask for, and what its sweep and defaults become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.explain import explain
from latentfarm.manifests.defaults import keep_latents, row_defaults
from latentfarm.manifests.request import DatasetRequest, Sweep
from latentfarm.manifests.sweeps import combinations


def request(**changes: Any) -> DatasetRequest:
    fields = {"name": "birds", "manifest": {"prompts": ["a bird"]}}
    return DatasetRequest.model_validate_json(json.dumps(fields | changes), strict=True)


def test_of_a_list_that_is_all_wrong_the_first_complaint_is_enough() -> None:
    """A body of 1 MiB has room for half a million, each of them far larger than the number that it is about."""
    with pytest.raises(ValidationError) as caught:
        request(wildcards={"a": [1] * 10_000, "b": ["", ""]})
    found = [error.field for error in explain(caught.value, DatasetRequest)]
    assert found == ["wildcards.a.0", "wildcards.b.0"]


def test_little_needs_to_be_said() -> None:
    asked = request()
    assert (asked.layout, asked.shard_samples, asked.shard_bytes) == ("webdataset", 1_000, 1024**3)
    assert (asked.template, asked.skip_invalid, asked.seed) == ("off", False, None)
    assert set(asked.quality.model_dump().values()) == {"mark"}
    assert row_defaults(asked) == {"reproducible": True}
    assert keep_latents(asked) == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Birds"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "../a"}, "name"),
        ({"manifest": {}}, "manifest"),
        ({"manifest": {"prompts": ["a"], "key": "b"}}, "manifest"),
        ({"manifest": {"rows": [3]}}, "manifest.rows.0"),
        ({"manifest": {"upload": "no id"}}, "manifest.upload"),
        ({"format": "xml"}, "format"),
        ({"template": "jinja"}, "template"),
        ({"template_samples": 0}, "template_samples"),
        ({"wildcards": {"a__b": ["x"]}}, "wildcards.a__b.[key]"),
        ({"wildcards": {"a": []}}, "wildcards.a"),
        ({"shard_samples": 0}, "shard_samples"),
        ({"shard_samples": 100_001}, "shard_samples"),
        ({"quality": {"dark": "forget"}}, "quality.dark"),
        ({"start_after": "2026-01-01T00:00:00"}, "start_after"),
        ({"priority": 11}, "priority"),
        ({"seed": 2**53}, "seed"),
        ({"sweeps": {}}, "sweeps"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        request(**changes)
    assert next(error.field for error in explain(caught.value, DatasetRequest)) == field


@pytest.mark.parametrize(
    ("defaults", "error", "field"),
    [
        ({"stepz": 3}, InvalidInput, "defaults.stepz"),
        ({"num_inference_steps": 0}, InvalidInput, "defaults.num_inference_steps"),
        ({"refiner": {"mode": "magic"}}, InvalidInput, "defaults.refiner.mode"),
        ({"seed": 3}, InvalidInput, "defaults.seed"),
        ({"lane": "interactive"}, InvalidInput, "defaults.lane"),
        ({"priority": 1}, InvalidInput, "defaults.priority"),
        ({"metadata": {"a": "b"}}, InvalidInput, "defaults.metadata"),
        ({"webhook": "https://a"}, InvalidInput, "defaults.webhook"),
        ({"image": "https://a"}, NotSupported, "defaults.image"),
        ({"keep_latents": -1}, InvalidInput, "defaults.keep_latents"),
    ],
)
def test_defaults_that_no_row_can_have_are_refused(
    defaults: dict[str, Any], error: type[InvalidInput], field: str
) -> None:
    with pytest.raises(error) as caught:
        row_defaults(request(defaults=defaults))
    assert caught.value.field == field


def test_defaults_may_say_otherwise() -> None:
    asked = request(defaults={"reproducible": False, "keep_latents": 60, "width": 512})
    assert row_defaults(asked) == {"reproducible": False, "width": 512}
    assert keep_latents(asked) == 60


def test_a_sweep_is_a_product_of_its_lists_and_of_the_zip() -> None:
    sweep = Sweep(product={"seed": (1, 2), "eta": (0.0, 1.0)}, zip={"width": (64, 128), "height": (72, 80)})
    assert combinations(sweep) == [
        {"seed": seed, "eta": eta, "width": width, "height": height}
        for seed in (1, 2)
        for eta in (0.0, 1.0)
        for width, height in ((64, 72), (128, 80))
    ]
    assert combinations(Sweep()) == [{}]


@pytest.mark.parametrize(
    ("sweep", "error", "field"),
    [
        ({"product": {"stepz": [1]}}, InvalidInput, "sweep.product.stepz"),
        ({"zip": {"id": ["a"]}}, InvalidInput, "sweep.zip.id"),
        ({"product": {"image": ["https://a"]}}, NotSupported, "sweep.product.image"),
        ({"product": {"keep_latents": [1]}}, InvalidInput, "sweep.product.keep_latents"),
        ({"product": {"eta": []}}, InvalidInput, "sweep.product.eta"),
        ({"product": {"eta": [0, 2]}}, InvalidInput, "sweep.product.eta.1"),
        ({"product": {"refiner": [None, {"mode": "x"}]}}, InvalidInput, "sweep.product.refiner.1.mode"),
        ({"zip": {"width": [64, 72], "height": [64]}}, InvalidInput, "sweep.zip"),
        ({"product": {"eta": [0]}, "zip": {"eta": [0]}}, InvalidInput, "sweep.zip.eta"),
        ({"product": {"seed": list(range(101)), "eta": [0.0] * 100}}, InvalidInput, "sweep"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(
    sweep: dict[str, Any], error: type[InvalidInput], field: str
) -> None:
    with pytest.raises(error) as caught:
        combinations(request(sweep=sweep).sweep)
    assert caught.value.field == field


def test_a_sweep_is_counted_before_it_is_made() -> None:
    fields = ("seed", "num_images", "clip_skip", "strength", "padding_mask_crop", "guidance_scale")
    with pytest.raises(InvalidInput, match="1000000000000 combinations"):
        combinations(Sweep(product=dict.fromkeys(fields, (1,) * 100)))
