"""Pictures with the conditions that SDXL is told about them: sizes, crops and a score."""

import random
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from training.drawing import Spot, choose_spot, draw, silhouette
from training.scene import Scene, caption, leave_open, random_scene, style_caption

CROP_LIMIT: Final = 48 / 128  # of the shorter side
_BEST_SCORE, _SCORE_FALL = 6.5, 5.0  # of a clean picture, and from there to the noisiest
_COARSE: Final = (0.04, 0.14)  # of the target's pixels; from 0.2 on the VAE makes edges sharp again
_GRAIN: Final = 75  # of 255, standard deviation of the noise in the noisiest picture


@dataclass(frozen=True)
class Plan:
    """All that is decided about a picture before it is drawn; sizes are (height, width), pixels.

    `crop` is the window's (top, left); the scene goes on, plain, beyond the window, so that a
    crop of (0, 0) leaves places as the caption says. `noise` runs from 0 to 1.
    """

    scene: Scene
    spots: tuple[Spot, ...]
    target_size: tuple[int, int]
    original_size: tuple[int, int]
    crop: tuple[int, int]
    noise: float
    score: float
    grain_seed: int


def plan_scene(scene: Scene, rng: random.Random, size: tuple[int, int] = (128, 128)) -> Plan:
    """A clean, uncropped picture of a given scene."""
    height, width = size
    things = [scene.main] if scene.second is None else [scene.main, scene.second]
    spots = tuple(choose_spot(thing, width, height, rng) for thing in things)
    return Plan(scene, spots, size, size, (0, 0), 0.0, _BEST_SCORE, rng.getrandbits(32))


def random_plan(rng: random.Random, size: tuple[int, int] = (128, 128), coarse: float = 0.0) -> Plan:
    """A picture as a training set would hold it: some are cropped, some enlarged, some noisy.

    `coarse` is the share of pictures that were enlarged from so few pixels that anyone sees it.
    """
    plan = plan_scene(random_scene(rng), rng, size)
    noise = rng.random() if rng.random() < 0.35 else 0.0
    return Plan(
        scene=plan.scene,
        spots=plan.spots,
        target_size=size,
        original_size=_random_original(rng, *size, coarse),
        crop=_random_crop(rng, min(size)),
        noise=noise,
        score=_BEST_SCORE - _SCORE_FALL * noise + rng.gauss(0, 0.25),
        grain_seed=plan.grain_seed,
    )


def render(plan: Plan) -> Image.Image:
    """The picture that was planned, RGB of `target_size`."""
    height, width = plan.target_size
    top, left = plan.crop
    spots = [spot.moved(left, top) for spot in plan.spots]
    image = enlarged_from(draw(plan.scene, spots, width, height), plan.original_size)
    if plan.noise == 0:
        return image
    things = [plan.scene.main] if plan.scene.second is None else [plan.scene.main, plan.scene.second]
    mask = Image.new("L", image.size, 0)
    for thing, spot in zip(things, spots, strict=True):
        mask.paste(255, mask=silhouette(thing.shape, spot, mask.size))
    return with_grain(image, mask, plan.noise, plan.grain_seed)


def random_captions(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """Prompts for both encoders: one text for both, or the style in the second alone, or no style."""
    told = leave_open(scene, rng)
    luck = rng.random()
    if luck < 0.4:
        both = caption(told)
        return both, both
    if luck < 0.75:
        return caption(told, with_style=False), style_caption(told)
    plain = caption(told, with_style=False)
    return plain, plain


def enlarged_from(image: Image.Image, original: tuple[int, int]) -> Image.Image:
    """The picture as if its file had been `original` (height, width) pixels small; larger changes nothing."""
    if original[0] >= image.height:
        return image
    small = image.resize((original[1], original[0]), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def with_grain(image: Image.Image, mask: Image.Image, noise: float, seed: int) -> Image.Image:
    """Coarse noise on the things (where `mask` is 255) and around their edges."""
    coarse = (max(1, image.width // 10), max(1, image.height // 10))
    values = np.random.default_rng(seed).normal(0, _GRAIN * noise, (coarse[1], coarse[0]))
    field = Image.fromarray(values.astype(np.float32)).resize(image.size, Image.Resampling.BILINEAR)
    reach = mask.resize(coarse).filter(ImageFilter.MaxFilter(3)).resize(image.size, Image.Resampling.BILINEAR)
    change = np.asarray(field) * (np.asarray(reach, np.float32) / 255)
    pixels = np.asarray(image, np.float32) + change[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def _random_crop(rng: random.Random, side: int) -> tuple[int, int]:
    if rng.random() >= 0.3:
        return 0, 0
    limit = int(side * CROP_LIMIT)
    return rng.randint(0, limit), rng.randint(0, limit)


def _random_original(rng: random.Random, height: int, width: int, coarse: float) -> tuple[int, int]:
    if coarse > 0 and rng.random() < coarse:
        share = rng.uniform(*_COARSE)
        return max(1, round(height * share)), max(1, round(width * share))
    luck = rng.random()
    if luck < 0.2:
        share = rng.uniform(0.2, 0.9)
    elif luck < 0.35:
        share = rng.uniform(1.0, 4.0)
    else:
        share = 1.0
    return round(height * share), round(width * share)
