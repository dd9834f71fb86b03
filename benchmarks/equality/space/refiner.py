"""How the refiner takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Level, both, unless_plain
from benchmarks.equality.space.levels import between
from benchmarks.equality.space.samplers import family

if TYPE_CHECKING:
    from collections.abc import Mapping


def refiner() -> list[Dimension]:
    """Whether there is one, where it starts, and what it is told."""

    def split(low: float, high: float) -> Level:
        return Level(between("refiner.high_noise_frac", low, high).draw, _splits)

    def own(field: str, low: float, high: float) -> Level:
        return Level(between(f"refiner.{field}", low, high).draw, both(unless_plain("refiner"), _splits))

    return [
        Dimension(
            "refiner",
            {
                PLAIN: Level(),
                "early": split(0.05, 0.35),
                "middle": split(0.4, 0.7),
                "late": split(0.75, 0.97),
            },
        ),
        Dimension(
            "refiner_guidance",
            {PLAIN: Level(), "none": own("guidance_scale", 0, 1), "strong": own("guidance_scale", 6, 12)},
        ),
        Dimension("aesthetic_score", {PLAIN: Level(), "drawn": own("aesthetic_score", 0, 10)}),
        Dimension(
            "negative_aesthetic_score",
            {PLAIN: Level(), "drawn": own("negative_aesthetic_score", 0, 10)},
            lives=_refined_with_guidance,
        ),
    ]


def _splits(chosen: Mapping[str, str]) -> bool:
    return family(chosen) != "edm"


def _refined_with_guidance(chosen: Mapping[str, str]) -> bool:
    own = chosen["refiner_guidance"]
    return own == "strong" or (own == PLAIN and chosen["guidance"] != "none")
