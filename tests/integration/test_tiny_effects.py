"""Each of SDXL's parameters does to the tiny pair what it does to SDXL, over 50 seeds."""

from pathlib import Path

import pytest
import torch

from training import effects
from training.studio import Studio, open_studio

SEEDS = range(100, 150)


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.set_num_threads(1)
    return open_studio(Path("models/tiny"))


def test_prompt_2_sets_the_style(studio):
    unasked, asked = effects.style_by_second_prompt(studio, SEEDS, steps=8)
    assert asked >= 0.7
    assert asked >= unasked + 0.3


def test_a_negative_prompt_drives_away_what_it_names(studio):
    free, pushed = effects.ground_by_negative_prompt(studio, SEEDS, steps=8)
    assert free >= 0.2  # one of three by chance
    assert pushed <= free * 2 / 3


def test_a_crop_moves_the_object_up_and_left(studio):
    up, left = effects.shift_by_crop(studio, SEEDS, steps=8, crop=32)
    assert 18 <= up <= 44
    assert 18 <= left <= 44


def test_a_small_original_size_blurs(studio):
    full, blurred = effects.blur_by_original_size(studio, SEEDS, steps=8)
    assert blurred <= 0.9 * full


def test_a_low_aesthetic_score_leaves_noise_around_edges(studio):
    best, worst = effects.noise_by_aesthetic_score(studio, SEEDS, steps=15)
    assert worst >= 1.3 * best


def test_strength_decides_how_much_of_a_picture_is_painted_over(studio):
    weak, strong = effects.change_by_strength(studio, SEEDS, steps=12)
    assert weak <= 0.1
    assert strong >= 0.7


def test_inpainting_follows_the_prompt_inside_the_mask_and_keeps_the_rest(studio):
    followed, outside = effects.painted_inside_mask(studio, SEEDS, steps=12)
    assert followed >= 0.7
    assert outside <= 6  # of 255: what passing through the VAE costs
