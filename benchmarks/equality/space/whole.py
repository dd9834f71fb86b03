"""All subjects together. A new field is one more dimension of its subject; the sets follow by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.space.adapters import adapters
from benchmarks.equality.space.guidance import guidance, guided
from benchmarks.equality.space.prompts import prompts, sizes
from benchmarks.equality.space.refiner import refiner
from benchmarks.equality.space.samplers import model_and_sampler
from benchmarks.equality.space.schedules import schedules, steps
from benchmarks.equality.space.start import size, start

if TYPE_CHECKING:
    from benchmarks.equality.dimension import Dimension


def space() -> list[Dimension]:
    """All dimensions, those that decide most about the others first."""
    return [
        *model_and_sampler(),
        *start(),
        steps(),
        *schedules(),
        *refiner(),
        *guidance(),
        size(),
        *prompts(),
        *sizes(),
        *adapters(guided),
    ]
