"""All subjects together. A new field is one more dimension of its subject; the sets follow by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.equality.dimension import PLAIN, Dimension, Fields, Level
from benchmarks.equality.space.guidance import guidance
from benchmarks.equality.space.levels import fixed
from benchmarks.equality.space.prompts import prompts, sizes
from benchmarks.equality.space.refiner import refiner
from benchmarks.equality.space.samplers import model_and_sampler
from benchmarks.equality.space.schedules import schedules, steps

if TYPE_CHECKING:
    from collections.abc import Sequence


def _pixels(heights: Sequence[int], widths: Sequence[int]) -> Level:
    return Level(lambda rng: {"height": 8 * rng.choice(heights), "width": 8 * rng.choice(widths)})


def text_to_image() -> list[Dimension]:
    """All dimensions, those that decide most about the others first."""
    size = {
        PLAIN: fixed(height=64, width=64),
        "wide": _pixels((8, 9), (10, 11, 12, 13)),
        "tall": _pixels((10, 11, 12, 13), (8, 9)),
    }
    return [
        *model_and_sampler(),
        steps(),
        *schedules(),
        *refiner(),
        *guidance(),
        Dimension("size", size, measured=False),
        *prompts(),
        *sizes(),
    ]


def plain_fields(dimension: Dimension) -> Fields:
    """What the spec says where a dimension is plain."""
    level: Any = dimension.levels.get(PLAIN)
    return {"sampler": "euler"} if level is None else level.draw(None)
