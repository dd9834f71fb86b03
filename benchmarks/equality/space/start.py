"""What a job starts from: noise, a picture, or a picture and a mask; and in which size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Fields, Level, unless_plain
from benchmarks.equality.pictures import FORMS, MASKS
from benchmarks.equality.space.levels import between, fixed, whole

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

_SEEDS = 10_000


def start() -> list[Dimension]:
    """Mode, pictures, strength, crop."""
    return [
        Dimension("mode", {PLAIN: Level(), "image": Level(_image), "inpaint": Level(_inpaint)}),
        Dimension("picture", _pictures(), measured=False),
        Dimension(
            "mask",
            {
                PLAIN: Level(),
                **{name: Level(fixed(**{"mask.kind": name}).draw, _inpainting) for name in MASKS[1:]},
            },
        ),
        Dimension("strength", _strengths()),
        Dimension("padding_mask_crop", _crops()),
    ]


def size() -> Dimension:
    """Of the result. Unsaid: the model's, or in image-to-image the picture's."""
    levels = {
        PLAIN: fixed(height=64, width=64),
        "wide": _pixels((8, 9), (10, 11, 12, 13)),
        "tall": _pixels((10, 11, 12, 13), (8, 9)),
        "unsaid": Level(),
    }
    return Dimension("size", levels, measured=False)


def _image(rng: random.Random) -> Fields:
    return {"picture.seed": rng.randrange(_SEEDS)}


def _inpaint(rng: random.Random) -> Fields:
    return {**_image(rng), "mask.seed": rng.randrange(_SEEDS)}


def _pictures() -> dict[str, Level]:
    """In image-to-image the picture's size may be the result's, and must then be one that the model has."""

    def draw(sides: Callable[[random.Random], int]) -> Callable[[random.Random], Fields]:
        return lambda rng: {
            "picture.size": (sides(rng), sides(rng)),
            "picture.form": rng.choice(list(FORMS)),
        }

    def fits(chosen: Mapping[str, str]) -> bool:
        return chosen.get("mode") != PLAIN and (chosen.get("mode"), chosen.get("size")) != ("image", "unsaid")

    return {
        PLAIN: Level(),
        "odd": Level(draw(lambda rng: 2 * rng.randint(32, 60) + 1), unless_plain("mode")),
        "small": Level(draw(lambda rng: rng.randint(41, 63)), fits),
        "large": Level(draw(lambda rng: rng.randint(140, 300)), fits),
    }


def _strengths() -> dict[str, Level]:
    drawn = {
        "low": between("strength", 0.2, 0.45),
        "middle": between("strength", 0.5, 0.8),
        "high": between("strength", 0.85, 0.99),
        "whole": fixed(strength=1.0),
    }
    return {PLAIN: Level(), **{name: Level(one.draw, unless_plain("mode")) for name, one in drawn.items()}}


def _crops() -> dict[str, Level]:
    def fits(chosen: Mapping[str, str]) -> bool:
        return _inpainting(chosen) and chosen.get("refiner", PLAIN) == PLAIN

    drawn = {
        "tight": fixed(padding_mask_crop=0),
        "narrow": whole("padding_mask_crop", 1, 12),
        "broad": whole("padding_mask_crop", 16, 64),
    }
    return {PLAIN: Level(), **{name: Level(one.draw, fits) for name, one in drawn.items()}}


def _inpainting(chosen: Mapping[str, str]) -> bool:
    return chosen.get("mode", "inpaint") == "inpaint"


def _pixels(heights: Sequence[int], widths: Sequence[int]) -> Level:
    return Level(lambda rng: {"height": 8 * rng.choice(heights), "width": 8 * rng.choice(widths)})
