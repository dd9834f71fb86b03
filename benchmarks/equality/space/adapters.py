"""LoRAs and textual inversions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Fields, Level
from benchmarks.equality.models import EMBEDDINGS, LORAS
from benchmarks.equality.space.refiner import refined

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from benchmarks.equality.dimension import Condition

_OF_BASE = [name for name, stage in LORAS.items() if stage == "base"]
_OF_REFINER = [name for name, stage in LORAS.items() if stage == "refine"]


def adapters(guided: Condition) -> list[Dimension]:
    """Which, how strong, and where prompts name them.

    Args:
        guided: whether the negative prompt is heard.
    """
    return [
        Dimension("loras", _loras()),
        Dimension(
            "embeddings",
            {
                PLAIN: Level(),
                "one": _taught(["mood"], "prompt"),
                "rows": _taught(["rows"], "prompt"),
                "second": _taught(["mood"], "prompt_2"),
                "negative": _taught(["rows", "mood"], "negative_prompt"),
            },
            lives=lambda chosen: chosen["embeddings"] != "negative" or guided(chosen),
            without=_untaught,
        ),
    ]


def _loras() -> dict[str, Level]:
    def several(rng: random.Random) -> Fields:
        return _used(rng, rng.sample(_OF_BASE, rng.randint(2, 3)), 0.2, 0.8)

    def of_both(rng: random.Random) -> Fields:
        return _used(rng, [*_OF_REFINER, *rng.sample(_OF_BASE, rng.randint(0, 1))], 0.4, 1.2)

    return {
        PLAIN: Level(),
        "one": Level(lambda rng: {"loras": [{"name": rng.choice(_OF_BASE)}]}),
        "weighted": Level(lambda rng: _used(rng, [rng.choice(_OF_BASE)], 0.3, 1.5)),
        "backwards": Level(lambda rng: _used(rng, [rng.choice(_OF_BASE)], -1.2, -0.3)),
        "several": Level(several),
        "refiner's": Level(of_both, refined),
    }


def _used(rng: random.Random, names: Sequence[str], low: float, high: float) -> Fields:
    return {"loras": [{"name": name, "weight": round(rng.uniform(low, high), 3)} for name in names]}


def _taught(names: Sequence[str], field: str) -> Level:
    tokens = " ".join(EMBEDDINGS[name] for name in names)
    return Level(lambda _rng: {"embeddings": list(names), f"token.{field}": tokens})


def _untaught(fields: Mapping[str, object]) -> Fields:
    """The same text, in which the tokens mean nothing."""
    return {name: value for name, value in fields.items() if name != "embeddings"}
