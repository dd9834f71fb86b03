"""Models and the samplers that fit them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import Dimension, Level, row_of
from benchmarks.equality.models import DISCRETE, EDM, KINDS
from benchmarks.equality.space.levels import fixed
from latentfarm.samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def family(chosen: Mapping[str, str]) -> str | None:
    """Of the sampler or the model, whichever is chosen."""
    row, model = row_of(chosen), chosen.get("model")
    if row is not None:
        return row.family
    return None if model is None else ("edm" if model in EDM else "discrete")


def _of_one_kind(kind: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda chosen: family(chosen) in (None, kind)


def model_and_sampler() -> list[Dimension]:
    """The two that decide most about the others."""
    models = {
        name: Level(fixed(model=name).draw, _of_one_kind("edm" if name in EDM else "discrete"))
        for name in KINDS
    }
    samplers = {
        name: Level(fixed(sampler=name).draw, _of_one_kind(row.family)) for name, row in SAMPLERS.items()
    }
    return [
        Dimension("model", models, measured=False),
        Dimension("sampler", samplers, lives=lambda chosen: chosen["model"] in DISCRETE),
    ]
