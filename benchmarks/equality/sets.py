"""Parameter sets: specs as users send them, each beside specs that lack one of its parameters."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.equality.assembling import assembled
from benchmarks.equality.covering import Covering
from benchmarks.equality.dimension import PLAIN
from benchmarks.equality.pictures import upright_size
from latentfarm.errors import InvalidInput
from latentfarm.mode_rules import fit_pictures
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
        given: as a user sends it; the farm accepts it. Its pictures are data URLs.
        spec: the same, complete.
        without: the given spec, plain in one dimension: for each whose effect can be measured.
    """

    levels: Row
    given: RenderSpec
    spec: RenderSpec
    seed: int
    without: dict[str, RenderSpec]

    @property
    def uploads(self) -> bool:
        """Whether its pictures are uploaded; those of others go as data URLs."""
        return self.seed % 2 == 1


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
                    given, spec = self._accepted(fields)
                except InvalidInput as error:
                    refusals[str(error)] += 1
                    continue
                self.covering.take(row)
                seed = self._rng.randrange(SEED_RANGE)
                return ParameterSet(row, given, spec, seed, self._beside(row, fields, given))
        raise RuntimeError(f"the farm refuses what the space draws: {refusals.most_common(3)}")

    def _accepted(self, fields: dict[str, Fields]) -> tuple[RenderSpec, RenderSpec]:
        given = RenderSpec.model_validate(assembled(fields.values()))
        entry = self._registry.get(given.model)
        spec = complete(given, entry)
        return given, spec if given.image is None else fit_pictures(spec, entry, upright_size(given.image))

    def _beside(self, row: Row, fields: dict[str, Fields], given: RenderSpec) -> dict[str, RenderSpec]:
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
                plain = {**fields, dimension.name: dimension.plain(fields[dimension.name])}
                other = self._accepted(plain)[0]
                if other != given:  # an embedding writes into a prompt that is otherwise empty
                    found[dimension.name] = other
        self._leading.update(list(found)[:1])
        return found
