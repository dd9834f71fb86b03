"""How the refiner takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Fields, Level, both
from benchmarks.equality.space.levels import between, whole
from benchmarks.equality.space.samplers import family

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from benchmarks.equality.dimension import Condition

ALONE = "alone"
"""Level of mode `only`: without a base stage."""
_IMAGE = ("again", "anew", ALONE)
"""Levels in which the refiner has a schedule of its own."""


def refiner() -> list[Dimension]:
    """Whether there is one, where it starts, and what it is told."""
    return [
        Dimension(
            "refiner",
            {
                PLAIN: Level(),
                "early": _split(0.05, 0.45, both(_splits, _starts_early)),
                "late": _split(0.5, 0.97, _splits),
                "unsaid": Level(lambda _rng: {"refiner.mode": "ensemble"}, _splits),
                "again": Level(_again),
                "anew": Level(_anew),
                ALONE: Level(lambda rng: {**_again(rng), "refiner.mode": "only"}, _needs_no_base),
            },
        ),
        Dimension(
            "refiner_steps",
            {PLAIN: Level(), "fewer": _own_steps(2, 5), "more": _own_steps(10, 15)},
        ),
        Dimension(
            "refiner_guidance",
            {PLAIN: Level(), "none": _own("guidance_scale", 0, 1), "strong": _own("guidance_scale", 6, 12)},
        ),
        Dimension("aesthetic_score", {PLAIN: Level(), "drawn": _own("aesthetic_score", 0, 10)}),
        Dimension(
            "negative_aesthetic_score",
            {PLAIN: Level(), "drawn": _own("negative_aesthetic_score", 0, 10)},
            lives=_refined_with_guidance,
        ),
    ]


def refined(chosen: Mapping[str, str]) -> bool:
    """A crop that is put back into the picture leaves nothing to refine."""
    return chosen.get("refiner") != PLAIN and chosen.get("padding_mask_crop", PLAIN) == PLAIN


def has_base(chosen: Mapping[str, str]) -> bool:
    """Whether what only the base reads has an effect."""
    return chosen["refiner"] != ALONE


def _needs_no_base(chosen: Mapping[str, str]) -> bool:
    """Image-to-image with nothing in it that is the base's."""
    of_base = chosen.get("strength", PLAIN) != PLAIN or chosen.get("loras", PLAIN) not in (PLAIN, "refiner's")
    return chosen.get("mode", "image") == "image" and not of_base


def _split(low: float, high: float, fits: Condition) -> Level:
    share = between("refiner.high_noise_frac", low, high)
    return Level(lambda rng: {"refiner.mode": "ensemble", **share.draw(rng)}, fits)


def _again(rng: random.Random) -> Fields:
    """A strength of 0.3 when absent."""
    own = {} if rng.random() < 0.3 else {"refiner.strength": round(rng.uniform(0.15, 0.5), 3)}
    return {"refiner.mode": "image", **own}


def _anew(rng: random.Random) -> Fields:
    return {"refiner.mode": "image", "refiner.strength": rng.choice([1.0, round(rng.uniform(0.55, 0.99), 3)])}


def _own(field: str, low: float, high: float) -> Level:
    return Level(between(f"refiner.{field}", low, high).draw, refined)


def _own_steps(low: int, high: int) -> Level:
    """Both stages of an ensemble share a schedule, and a schedule of the user's own is of both stages."""

    def fits(chosen: Mapping[str, str]) -> bool:
        own = chosen.get("steps") in ("timesteps", "sigmas")
        return chosen.get("refiner", _IMAGE[0]) in _IMAGE and refined(chosen) and not own

    return Level(whole("refiner.num_inference_steps", low, high).draw, fits)


def _splits(chosen: Mapping[str, str]) -> bool:
    return family(chosen) != "edm"


def _starts_early(chosen: Mapping[str, str]) -> bool:
    """A picture that little noise is added to starts behind an early split. Image-to-image: 0.3 when unsaid."""
    strength, mode = chosen.get("strength"), chosen.get("mode")
    return strength != "low" and (strength, mode) != (PLAIN, "image")


def _refined_with_guidance(chosen: Mapping[str, str]) -> bool:
    own = chosen["refiner_guidance"]
    return own == "strong" or (own == PLAIN and chosen["guidance"] != "none")
