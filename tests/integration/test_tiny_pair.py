"""The shipped pair: the hub's layout, SDXL's conventions, and pictures that match their prompts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.judge import look
from training.measures import distance_to_ideal
from training.scores import mark, set_exam
from training.studio import Studio, open_studio

MODEL = Path("models/tiny")
SIZE_LIMIT = 16_000_000  # bytes


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.set_num_threads(1)
    return open_studio(MODEL)


def _json(path: str):
    return json.loads((MODEL / path).read_text())


def test_the_layout_is_the_hubs():
    base, refiner = _json("base/model_index.json"), _json("refiner/model_index.json")
    assert base["_class_name"] == "StableDiffusionXLPipeline"
    assert refiner["_class_name"] == "StableDiffusionXLImg2ImgPipeline"
    assert base["force_zeros_for_empty_prompt"] is True
    assert refiner["force_zeros_for_empty_prompt"] is False
    assert refiner["requires_aesthetics_score"] is True
    assert refiner["text_encoder"] == refiner["tokenizer"] == [None, None]
    for stage in ("base", "refiner"):
        for part in ("unet", "vae", "text_encoder_2", "tokenizer_2", "scheduler"):
            assert (MODEL / stage / part).is_dir()
    assert (MODEL / "base/tokenizer/vocab.json").exists()
    assert (MODEL / "base/tokenizer/merges.txt").exists()


def test_the_files_are_small_and_safe():
    weights = [file for file in MODEL.rglob("*") if file.suffix in {".safetensors", ".bin", ".pt", ".ckpt"}]
    assert all(file.suffix == ".safetensors" for file in weights)
    assert sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file()) <= SIZE_LIMIT


def test_the_schedule_and_the_vae_are_sdxls():
    schedule, vae = _json("base/scheduler/scheduler_config.json"), _json("base/vae/config.json")
    assert schedule["_class_name"] == "EulerDiscreteScheduler"
    assert (schedule["beta_start"], schedule["beta_end"]) == (0.00085, 0.012)
    assert (schedule["beta_schedule"], schedule["timestep_spacing"]) == ("scaled_linear", "leading")
    assert (schedule["steps_offset"], schedule["prediction_type"]) == (1, "epsilon")
    assert vae["force_upcast"] is True
    assert len(vae["block_out_channels"]) == 4  # a factor of 8


def test_the_latents_have_unit_variance(studio):
    pictures = studio.pictures(
        ["a large red circle on the left, white background"] * 4, [1, 2, 3, 4], steps=8
    )
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    latents = (
        studio.base.vae.encode(pixels / 127.5 - 1).latent_dist.mean * studio.base.vae.config.scaling_factor
    )
    assert 0.4 < latents.std() < 2.5


def test_pictures_show_what_prompts_say(studio):
    exam = set_exam(24, seed=5)
    pictures = studio.pictures(exam.prompts, exam.seeds)
    shares = mark(pictures, exam.scenes)
    assert shares["main"] >= 0.75, shares
    assert shares["place"] >= 0.7, shares
    # Another caption's answers are chance.
    shifted = mark(pictures, [*exam.scenes[1:], exam.scenes[0]])
    assert shifted["main"] <= 0.3


@pytest.mark.parametrize(
    "size", [(64, 64), pytest.param((256, 256), marks=pytest.mark.long), (64, 256), (72, 104)]
)
def test_sizes_from_64_to_256_both_ways(studio, size):
    height, width = size
    prompt = "a large blue square in the middle, white background, filled style"
    images = studio.base_alone([prompt] * 4, [1, 2, 3, 4], steps=10, height=height, width=width)
    assert {image.size for image in images} == {(width, height)}


@pytest.mark.parametrize("size", [pytest.param((256, 256), marks=pytest.mark.long), (128, 192), (96, 128)])
def test_colours_are_right_in_the_sizes_that_training_had(studio, size):
    height, width = size
    prompts = ["a large blue square in the middle, white background, filled style"] * 8
    mains = [look(image).main for image in studio.base_alone(prompts, range(8), height=height, width=width)]
    assert sum(main is not None and main.colour == "blue" for main in mains) >= 6


def test_seeds_differ_and_repeat(studio):
    prompts = ["a large red circle on the left, white background"] * 2
    one, two = studio.pictures(prompts, [1, 2], steps=8)
    again = studio.pictures(prompts, [1, 2], steps=8)[0]
    assert np.array_equal(np.asarray(one), np.asarray(again))
    assert not np.array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.long
def test_the_refiner_brings_pictures_nearer_to_the_ideal(studio):
    exam = set_exam(32, seed=6)
    latents = studio.latents(exam.prompts, exam.seeds)
    refined = studio.refined(exam.prompts, exam.seeds, latents)
    alone = studio.base_alone(exam.prompts, exam.seeds)
    early = studio.latents(exam.prompts, exam.seeds, denoising_end=0.5)
    wrong = studio.refined(exam.prompts, exam.seeds, early)
    distances = [
        float(np.nanmean([distance_to_ideal(image) for image in way])) for way in (refined, alone, wrong)
    ]
    assert distances[0] < distances[1] < distances[2], distances
