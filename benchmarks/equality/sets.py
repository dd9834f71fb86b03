"""Parameter sets: complete specs, each beside specs that lack one of its parameters."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.equality.covering import Covering
from benchmarks.equality.dimension import PLAIN
from benchmarks.equality.space.whole import plain_fields
from latentfarm.errors import InvalidInput
from latentfarm.spec import SEED_RANGE, RenderSpec
from latentfarm.validation import complete

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.equality.covering import Row
    from benchmarks.equality.dimension import Dimension, Fields
    from latentfarm.registry import Registry

_ROWS, _DRAWS = 40, 8
"""How often a row, and the values of a row, are drawn anew when the farm refuses them."""


@dataclass(frozen=True)
class ParameterSet:
    """One set.

    Attributes:
        levels: of each dimension.
        spec: complete, as the farm accepted it.
        without: the same spec, plain in one dimension: for each whose effect can be measured.
    """

    levels: Row
    spec: RenderSpec
    seed: int
    without: dict[str, RenderSpec]


class Sets:
    """Draws sets from a space.

    Args:
        dimensions: the space.
        registry: of the models that the space names.

    Attributes:
        covering: which pairs of levels are covered.
    """

    def __init__(self, dimensions: Sequence[Dimension], registry: Registry, seed: int) -> None:
        self.covering = Covering(dimensions, random.Random(seed))
        self._dimensions = dimensions
        self._registry = registry
        self._rng = random.Random(seed + 1)
        self._leading: Counter[str] = Counter()

    @property
    def parameters(self) -> list[str]:
        """The dimensions whose effect is measured."""
        return [dimension.name for dimension in self._dimensions if dimension.measured]

    def draw(self, count: int) -> list[ParameterSet]:
        """The next sets.

        Raises:
            RuntimeError: the farm refuses every row that is drawn.
        """
        return [self._next() for _ in range(count)]

    def _next(self) -> ParameterSet:
        refusals: Counter[str] = Counter()
        for _ in range(_ROWS):
            row = self.covering.next()
            for _ in range(_DRAWS):
                fields = {d.name: d.levels[row[d.name]].draw(self._rng) for d in self._dimensions}
                try:
                    spec = self._complete(fields)
                except InvalidInput as error:
                    refusals[str(error)] += 1
                    continue
                self.covering.take(row)
                seed = self._rng.randrange(SEED_RANGE)
                return ParameterSet(row, spec, seed, self._beside(row, fields))
        raise RuntimeError(f"the farm refuses what the space draws: {refusals.most_common(3)}")

    def _complete(self, fields: dict[str, Fields]) -> RenderSpec:
        given = _nested(fields)
        spec = RenderSpec.model_validate(given)
        return complete(spec, self._registry.get(spec.model))

    def _beside(self, row: Row, fields: dict[str, Fields]) -> dict[str, RenderSpec]:
        """Those that came first least often so far come first."""
        candidates = [
            dimension
            for dimension in self._dimensions
            if dimension.measured and row[dimension.name] not in (PLAIN, "euler") and dimension.lives(row)
        ]
        self._rng.shuffle(candidates)
        found: dict[str, RenderSpec] = {}
        for dimension in sorted(candidates, key=lambda dimension: self._leading[dimension.name]):
            # Without it, another of the set's parameters may not be allowed.
            with contextlib.suppress(InvalidInput):
                found[dimension.name] = self._complete({**fields, dimension.name: plain_fields(dimension)})
        self._leading.update(list(found)[:1])
        return found


def _nested(fields: dict[str, Fields]) -> Fields:
    """`refiner.x` becomes a field of `refiner`, where there is one."""
    spec: Fields = {}
    for name, value in (pair for drawn in fields.values() for pair in drawn.items()):
        outer, _, inner = name.partition(".")
        if inner:
            spec.setdefault(outer, {})[inner] = value
        else:
            spec[name] = value
    if spec.get("refiner", {}).keys().isdisjoint({"high_noise_frac"}):
        spec.pop("refiner", None)
    return spec
