"""Classifier-free guidance: none, little, much, rescaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Level
from benchmarks.equality.space.levels import between

if TYPE_CHECKING:
    from collections.abc import Mapping


def guided(chosen: Mapping[str, str]) -> bool:
    """Whether some stage has a negative branch."""
    return chosen["guidance"] != "none" or chosen["refiner_guidance"] == "strong"


def guidance() -> list[Dimension]:
    """Of the base, and of the refiner where that has none of its own."""
    levels = {
        PLAIN: Level(),
        "none": between("guidance_scale", 0, 1),
        "low": between("guidance_scale", 1.05, 3),
        "high": between("guidance_scale", 8, 15),
    }
    rescale = {PLAIN: Level(), "some": between("guidance_rescale", 0.05, 1)}
    return [Dimension("guidance", levels), Dimension("guidance_rescale", rescale, lives=guided)]
