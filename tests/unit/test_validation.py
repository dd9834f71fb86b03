"""What is refused before anything is stored, and what the model fills in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm import validation
from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.registry import ModelEntry
from latentfarm.spec import OutputSpec, RefinerSpec, RenderSpec
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
    max_images=5,
    sampler="ddim",
)
Fields = dict[str, Any]


def spec(**fields: Any) -> RenderSpec:
    return RenderSpec.model_validate({"model": "toy", "prompt": "a", **fields})


def test_the_model_fills_in_what_the_user_left_out() -> None:
    full = complete(spec(refiner={}, num_inference_steps=30, guidance_scale=7.0), ENTRY)
    assert (full.height, full.width, full.sampler) == (96, 128, "ddim")
    assert full.refiner is not None
    assert (full.refiner.num_inference_steps, full.refiner.guidance_scale) == (30, 7.0)


def test_what_the_user_gave_stays() -> None:
    given = spec(height=64, width=72, sampler="heun", refiner={"guidance_scale": 0.0})
    full = complete(given, ENTRY)
    assert (full.height, full.width, full.sampler) == (64, 72, "heun")
    assert full.refiner is not None
    assert full.refiner.guidance_scale == 0.0
    assert complete(full, ENTRY) == full


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"output": {"quality": 80}}, "output.quality"),
    ],
)
def test_what_is_not_built_is_refused(fields: Fields, field: str) -> None:
    with pytest.raises(NotSupported) as caught:
        complete(spec(**fields), ENTRY)
    assert caught.value.field == field
    assert caught.value.code == "not_supported"


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"num_images": 6}, "num_images", "1 to 5"),
        ({"width": 56}, "width", "64 to 256, in steps of 8"),
        ({"height": 264}, "height", "64 to 256, in steps of 8"),
        ({"sampler": "magic"}, "sampler", "euler"),
        ({"sigma_schedule": "magic"}, "sigma_schedule", "default"),
        ({"sampler": "ddim", "sigma_schedule": "karras"}, "sigma_schedule", "default"),
        ({"timestep_spacing": "magic"}, "timestep_spacing", "leading, linspace, trailing"),
        ({"sampler": "lcm", "timestep_spacing": "leading"}, "timestep_spacing", ""),
        ({"sampler": "euler", "eta": 0.1}, "eta", "ddim, tcd"),
        ({"sampler": "tcd", "num_inference_steps": 51}, "num_inference_steps", "1 to 50"),
        ({"sampler": "ddim", "timesteps": [900, 1]}, "timesteps", "heun"),
        ({"sampler": "heun", "sigmas": [9.0, 0.0]}, "sigmas", "euler"),
        ({"sampler": "euler", "sigmas": [9.0]}, "sigmas", "at least 2"),
        ({"sampler": "euler", "timesteps": []}, "timesteps", "at least 1"),
        ({"sampler": "euler", "timesteps": [9, 9]}, "timesteps", ""),
        ({"sampler": "euler", "sigmas": [1.0, 2.0]}, "sigmas", ""),
        ({"sampler": "euler", "sigmas": [2.0, 1.0], "timesteps": [2, 1]}, "sigmas", "one of them"),
        (
            {"sampler": "euler", "timesteps": [9, 1], "sigma_schedule": "karras"},
            "sigma_schedule",
            "default",
        ),
        ({"sampler": "edm_euler"}, "sampler", "euler_ancestral"),
        (
            {"sampler": "euler", "sigma_schedule": "lu"},
            "sigma_schedule",
            "default, karras, exponential, beta",
        ),
        ({"sampler": "heun", "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr", "euler"),
        ({"sampler": "heun", "rescale_betas_zero_snr": False}, "rescale_betas_zero_snr", "euler"),
        (
            {"sampler": "ddim", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
            "rescale_betas_zero_snr",
            "false",
        ),
        ({"sampler": "lcm", "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr", "false"),
        (
            {"sampler": "ddpm", "rescale_betas_zero_snr": True, "timesteps": [999, 5]},
            "rescale_betas_zero_snr",
            "false",
        ),
        ({"refiner": {"num_inference_steps": 49}}, "refiner.num_inference_steps", "50"),
        ({"refiner": {}, "num_inference_steps": 1}, "refiner.high_noise_frac", ""),
        ({"refiner": {"high_noise_frac": 0.9999}}, "refiner.high_noise_frac", ""),
        ({"sampler": "pndm", "num_inference_steps": 3}, "num_inference_steps", ""),
        ({"prompt": "a\0b"}, "prompt", ""),
        ({"negative_prompt_2": "\0"}, "negative_prompt_2", ""),
        ({"output": {"format": "jpeg"}, "prompt": "a" * 4000}, "output.format", "png"),
    ],
)
def test_what_the_model_or_the_sampler_cannot_do_is_refused(fields: Fields, field: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        complete(spec(**fields), ENTRY)
    assert caught.value.field == field
    assert allowed in caught.value.allowed
    assert not isinstance(caught.value, NotSupported)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": "euler", "sigma_schedule": "karras", "timestep_spacing": "trailing"},
        {"sampler": "euler", "sigma_schedule": "default", "timesteps": [999, 500, 1]},
        {"sampler": "euler", "sigmas": [14.6, 0.5, 0.0], "refiner": {"high_noise_frac": 0.5}},
        {"sampler": "ddim", "eta": 1.0},
        {"sampler": "ddim", "rescale_betas_zero_snr": True},
        {"sampler": "dpmpp_2m", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        {"sampler": "dpmpp_3m_sde", "sigma_schedule": "lu", "refiner": {}},
        {"sampler": "tcd", "eta": 0.3, "num_inference_steps": 50},
        {"output": {"format": "webp", "quality": 50}, "prompt": "a" * 8000},
        {"num_inference_steps": 200, "sampler": "dpm2"},
        {"num_images": 5},
    ],
)
def test_what_fits_is_accepted(fields: Fields) -> None:
    assert complete(spec(**fields), ENTRY).num_images >= 1


def test_a_model_without_a_refiner_refuses_one() -> None:
    bare = ENTRY.model_copy(update={"refiner": None})
    with pytest.raises(InvalidInput, match="no refiner"):
        complete(spec(refiner={}), bare)
    assert complete(spec(), bare).refiner is None


@pytest.fixture
def with_files(tmp_path: Path) -> ModelEntry:
    """A model whose small files are here: 3 encoder layers, a Karras schedule of its own."""
    config = {"timestep_spacing": "leading", "steps_offset": 1, "use_karras_sigmas": True}
    for folder, document in {
        "scheduler/scheduler_config.json": {**config, "beta_schedule": "scaled_linear"},
        "text_encoder/config.json": {"num_hidden_layers": 12},
        "text_encoder_2/config.json": {"num_hidden_layers": 3},
    }.items():
        path = tmp_path / folder
        path.parent.mkdir()
        path.write_text(json.dumps(document))
    return ENTRY.model_copy(update={"base": str(tmp_path), "refiner": None})


def test_clip_skip_stays_within_the_shallowest_encoder(with_files: ModelEntry) -> None:
    complete(spec(clip_skip=2), with_files)
    with pytest.raises(InvalidInput, match="clip_skip") as caught:
        complete(spec(clip_skip=3), with_files)
    assert caught.value.allowed == "0 to 2"
    complete(spec(clip_skip=30), ENTRY)  # the files are not here: the worker is the backstop


def test_the_models_own_sigma_schedule_counts(with_files: ModelEntry) -> None:
    with pytest.raises(InvalidInput, match="sigma_schedule"):
        complete(spec(sampler="euler", timesteps=[9, 1]), with_files)
    complete(spec(sampler="euler", timesteps=[9, 1], sigma_schedule="default"), with_files)


def test_records_of_the_spec_are_accepted_as_they_are() -> None:
    given = RenderSpec(
        model="toy", prompt="a", refiner=RefinerSpec(), output=OutputSpec(format="jpeg", quality=90)
    )
    assert complete(given, ENTRY).output.quality == 90


def model_of(folder: Path, config: dict[str, Any], **fields: Any) -> ModelEntry:
    """A model of which only the scheduler's file is here."""
    path = folder / "scheduler" / "scheduler_config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config))
    return ENTRY.model_copy(update={"base": str(folder), **fields})


FEW: Fields = {"num_inference_steps": 4}


@pytest.fixture
def edm(tmp_path: Path) -> ModelEntry:
    return model_of(tmp_path, {"_class_name": "EDMEulerScheduler", "sigma_max": 80.0}, sampler="edm_euler")


def test_an_edm_model_takes_edm_samplers(edm: ModelEntry) -> None:
    assert complete(spec(), edm).sampler == "edm_euler"
    complete(spec(sampler="edm_dpmpp_3m", sigma_schedule="exponential"), edm)
    complete(spec(**FEW, refiner={"mode": "image", "strength": 0.25}), edm)
    few = {"num_inference_steps": 3, "image": f"sha256:{64 * '0'}"}
    complete(spec(**few, refiner={"mode": "only", "strength": 0.9, "num_inference_steps": 30}), edm)
    away = edm.model_copy(update={"base": "/nowhere"})
    assert complete(spec(), away).sampler == "edm_euler", "its default sampler tells of what kind it is"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sampler": "euler"}, "sampler"),
        ({"refiner": {}}, "refiner.mode"),
        ({"sigmas": [1.0, 0.0]}, "sigmas"),
        ({"timesteps": [9, 1]}, "timesteps"),
        ({"timestep_spacing": "trailing"}, "timestep_spacing"),
        ({"sigma_schedule": "beta"}, "sigma_schedule"),
        ({"eta": 0.5}, "eta"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({**FEW, "refiner": {"mode": "image", "strength": 0.24}}, "refiner.strength"),
        ({**FEW, "image": f"sha256:{64 * '0'}", "strength": 0.24}, "strength"),
    ],
)
def test_an_edm_model_refuses_the_rest(fields: Fields, field: str, edm: ModelEntry) -> None:
    with pytest.raises(InvalidInput) as caught:
        complete(spec(**fields), edm)
    assert caught.value.field == field


def test_a_model_that_predicts_velocity_may_begin_without_signal(tmp_path: Path) -> None:
    config = {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    }
    model = model_of(tmp_path, config)
    complete(spec(), model)
    assert complete(spec(sampler="lcm"), model).rescale_betas_zero_snr is None


def test_a_model_that_would_divide_by_zero_is_refused_by_its_own_config_too(tmp_path: Path) -> None:
    model = model_of(tmp_path, {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"})
    with pytest.raises(InvalidInput, match="rescale_betas_zero_snr"):
        complete(spec(), model)
    complete(spec(rescale_betas_zero_snr=False), model)


def test_prompts_are_read_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What datasets stand on: specs that differ in their prompts alone need everything else once."""
    read = list[str]()

    class Watched(RenderSpec):
        def __getattribute__(self, name: str) -> Any:
            if name in validation.PROMPTS:
                read.append(name)
            return super().__getattribute__(name)

    given = {"model": "toy", "prompt": "a", "refiner": {"mode": "image"}, "output": {"format": "jpeg"}}
    complete(Watched.model_validate(given), ENTRY)
    assert set(read) == set(validation.PROMPTS)
    read.clear()
    monkeypatch.setattr(validation, "check_prompts", lambda _: None)
    complete(Watched.model_validate(given), ENTRY)
    assert read == []
