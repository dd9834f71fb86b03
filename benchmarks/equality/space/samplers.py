"""Models and the samplers that fit them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import Dimension, Fields, Level, both, row_of
from benchmarks.equality.models import DISCRETE, EDM, KINDS, NINE_CHANNELS
from benchmarks.equality.space.levels import fixed
from latentfarm.samplers import SAMPLERS

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from benchmarks.equality.dimension import Condition


def family(chosen: Mapping[str, str]) -> str | None:
    """Of the sampler or the model, whichever is chosen."""
    row, model = row_of(chosen), chosen.get("model")
    if row is not None:
        return row.family
    return None if model is None else ("edm" if model in EDM else "discrete")


def _of_one_kind(kind: str) -> Condition:
    return lambda chosen: family(chosen) in (None, kind)


def _paints(name: str) -> Condition:
    return lambda chosen: name not in NINE_CHANNELS or chosen.get("mode", "inpaint") == "inpaint"


def _euler(rng: random.Random) -> Fields:
    """Unsaid, it is the model's own."""
    return rng.choice([{}, {"sampler": "euler"}])


def model_and_sampler() -> list[Dimension]:
    """The two that decide most about the others."""
    models = {
        name: Level(
            fixed(model=name).draw, both(_of_one_kind("edm" if name in EDM else "discrete"), _paints(name))
        )
        for name in KINDS
    }
    samplers = {
        name: Level(_euler if name == "euler" else fixed(sampler=name).draw, _of_one_kind(row.family))
        for name, row in SAMPLERS.items()
    }
    return [
        Dimension("model", models, measured=False),
        Dimension("sampler", samplers, lives=lambda chosen: chosen["model"] in DISCRETE),
    ]
