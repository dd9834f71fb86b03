"""What each parameter of SDXL does to the pictures, over many seeds, in numbers.

Every function returns two averages over the same seeds: without the parameter's change and with it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import Image

from training.judge import look
from training.measures import distance_to_ideal, edge_noise, sharpness
from training.painter import Painter
from training.picture import plan_scene, render
from training.scene import Scene, Thing, caption
from training.scores import mark, set_exam
from training.words import BACKGROUNDS, STYLES

Pairing = tuple[float, float]
_PLAIN: Final = "a large red circle in the middle, white background"


def object_by_prompt(painter: Painter, seeds: Sequence[int], steps: int = 20) -> Pairing:
    """Share of pictures whose main object has colour and shape of another picture's prompt, and of its own."""
    exam = set_exam(len(seeds))
    (images,) = painter.with_refiners(exam.prompts, seeds, [{}], steps=steps)
    shifted = [*exam.scenes[1:], exam.scenes[0]]
    return mark(images, shifted)["main"], mark(images, exam.scenes)["main"]


def ideal_by_refiner(painter: Painter, seeds: Sequence[int], steps: int = 20) -> Pairing:
    """Distance to the drawn ideal of what is seen, as a part of the base's: of the base alone, and refined.

    The second is the median over pairs of one seed: where the base went astray the refiner cannot help, and
    one such picture outweighs ten in a mean.
    """
    exam = set_exam(len(seeds))
    alone = painter.base_alone(exam.prompts, seeds, steps=steps)
    (refined,) = painter.with_refiners(exam.prompts, seeds, [{}], steps=steps)
    pairs = zip(alone, refined, strict=True)
    return 1.0, float(np.nanmedian([distance_to_ideal(two) / distance_to_ideal(one) for one, two in pairs]))


def style_by_second_prompt(painter: Painter, seeds: Sequence[int], steps: int = 12) -> Pairing:
    """Share of pictures in the style asked for: when nobody asks, and when prompt_2 does."""
    wanted = [STYLES[seed % len(STYLES)] for seed in seeds]
    prompts = [_PLAIN] * len(seeds)
    unasked = painter.base_alone(prompts, seeds, steps=steps)
    asked = painter.base_alone(prompts, seeds, steps=steps, prompt_2=[f"{style} style" for style in wanted])
    return _share(unasked, wanted), _share(asked, wanted)


def ground_by_negative_prompt(painter: Painter, seeds: Sequence[int], steps: int = 12) -> Pairing:
    """Share of pictures on a ground that the prompt leaves open: by chance, and when it is the negative."""
    unwanted = [list(BACKGROUNDS)[seed % len(BACKGROUNDS)] for seed in seeds]
    prompts = ["a large red circle in the middle"] * len(seeds)
    free = painter.base_alone(prompts, seeds, steps=steps)
    negative = [f"a large red circle in the middle, {ground} background" for ground in unwanted]
    pushed = painter.base_alone(prompts, seeds, steps=steps, negative_prompt=negative)

    def share(images: list[Image.Image]) -> float:
        seen = zip(images, unwanted, strict=True)
        return float(np.mean([look(image).background == ground for image, ground in seen]))

    return share(free), share(pushed)


def shift_by_crop(painter: Painter, seeds: Sequence[int], steps: int = 12, crop: int = 32) -> Pairing:
    """Pixels by which the object moves up and left when the crop starts `crop` pixels down and right."""
    prompts = [_PLAIN] * len(seeds)
    at_rest = painter.base_alone(prompts, seeds, steps=steps)
    moved = painter.base_alone(prompts, seeds, steps=steps, crops_coords_top_left=(crop, crop))
    pairs = [(look(one).main, look(two).main) for one, two in zip(at_rest, moved, strict=True)]
    spots = [(one.spot, two.spot) for one, two in pairs if one is not None and two is not None]
    up = float(np.mean([one.y - two.y for one, two in spots]))
    left = float(np.mean([one.x - two.x for one, two in spots]))
    return up, left


def blur_by_original_size(painter: Painter, seeds: Sequence[int], steps: int = 12, small: int = 8) -> Pairing:
    """Sharpness when the picture is said to be of full size, and when it was `small` pixels."""
    prompts = [_PLAIN] * len(seeds)
    full = painter.base_alone(prompts, seeds, steps=steps)
    blurred = painter.base_alone(prompts, seeds, steps=steps, original_size=(small, small))
    return _mean(sharpness, full), _mean(sharpness, blurred)


def noise_by_aesthetic_score(painter: Painter, seeds: Sequence[int], steps: int = 20) -> Pairing:
    """Noise around the object for the refiner's best score and for its worst, from the same latents."""
    prompts = [_PLAIN] * len(seeds)
    scores = ((6.5, 2.0), (2.0, 6.5))
    refiners = [{"aesthetic_score": own, "negative_aesthetic_score": other} for own, other in scores]
    best, worst = painter.with_refiners(prompts, seeds, refiners, steps=steps)
    return _mean(edge_noise, best), _mean(edge_noise, worst)


def change_by_strength(
    painter: Painter, seeds: Sequence[int], steps: int = 20, strengths: tuple[float, float] = (0.3, 0.9)
) -> Pairing:
    """Share of pictures that turned from the drawing's red circle to the prompt's blue square."""
    scene = Scene(Thing("circle", "red", "large", "middle"), None, "white", "filled")
    drawn = [render(plan_scene(scene, random.Random(seed))) for seed in seeds]
    prompts = ["a large blue square in the middle, white background, filled style"] * len(seeds)

    def share(strength: float) -> float:
        images = painter.from_pictures(prompts, seeds, steps=steps, image=drawn, strength=strength)
        mains = [look(image).main for image in images]
        return float(
            np.mean([main is not None and (main.colour, main.shape) == ("blue", "square") for main in mains])
        )

    return share(strengths[0]), share(strengths[1])


def painted_inside_mask(painter: Painter, seeds: Sequence[int], steps: int = 20) -> Pairing:
    """Share of pictures whose masked half shows what the prompt asks there, and error outside the mask.

    The error is the mean distance, of 255, from the drawing at least 16 pixels from the mask.
    """
    scene = Scene(Thing("circle", "red", "large", "left"), None, "white", "filled")
    told = replace(scene, second=Thing("square", "blue", "small", "right"))
    drawn = [render(plan_scene(scene, random.Random(seed))) for seed in seeds]
    half = (72, 0, 128, 128)
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, half)
    images = painter.from_pictures(
        [caption(told)] * len(seeds),
        seeds,
        steps=steps,
        image=drawn,
        mask_image=mask,
        strength=1.0,
    )
    painted = [look(image.crop(half)).main for image in images]
    followed = [thing is not None and thing.colour == "blue" for thing in painted]
    outside = [_distance(one, two, (0, 0, 56, 128)) for one, two in zip(images, drawn, strict=True)]
    return float(np.mean(followed)), float(np.mean(outside))


def _share(images: list[Image.Image], styles: list[str]) -> float:
    return float(np.mean([look(image).style == style for image, style in zip(images, styles, strict=True)]))


def _mean(measure: Callable[[Image.Image], float], images: list[Image.Image]) -> float:
    return float(np.nanmean([measure(image) for image in images]))


def _distance(one: Image.Image, two: Image.Image, box: tuple[int, int, int, int]) -> float:
    left, right = (np.asarray(image.crop(box), np.float32) for image in (one, two))
    return float(np.abs(left - right).mean())
