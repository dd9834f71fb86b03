"""Rows of levels in which every pair of levels that can stand together does so at least once."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from benchmarks.equality.dimension import Dimension

Row = dict[str, str]
Item = tuple[str, str]
Pair = frozenset[Item]
LEADING = 3
"""Dimensions that decide about others; they come first in the space, and all their levels are tried."""
TRIES = 5
"""Rows of which the one with the most missing pairs is taken."""


class Covering:
    """Makes rows greedily; each new one starts from a pair that is still missing.

    Attributes:
        open: pairs of (dimension, level) that no row has yet.
        impossible: pairs that cannot stand in any row.
    """

    def __init__(self, dimensions: Sequence[Dimension], rng: random.Random) -> None:
        self._dimensions = dimensions
        self._by_name = {dimension.name: dimension for dimension in dimensions}
        self._rng = rng
        self._every = [
            frozenset(pair)
            for one, other in itertools.combinations(dimensions, 2)
            for pair in itertools.product(_items(one), _items(other))
        ]
        self.open = set(self._every)
        self.impossible: set[Pair] = set()

    def next(self) -> Row:
        """A row with as many missing pairs as the greedy way finds; any row once none is missing."""
        tried = [row for row in (self._try() for _ in range(TRIES)) if row is not None]
        if not tried:
            raise RuntimeError("the space has no row at all")
        return max(tried, key=lambda row: sum(pair in self.open for pair in _pairs(row)))

    def _try(self) -> Row | None:
        missing = [pair for pair in self._every if pair in self.open]
        self._rng.shuffle(missing)
        for seed in missing:
            row = self._fill(dict(sorted(seed)))
            if row is not None:
                return row
            self.open.discard(seed)
            self.impossible.add(seed)
        return self._fill({})

    def take(self, row: Row) -> None:
        """Counts a row's pairs as covered."""
        self.open -= set(_pairs(row))

    def _fill(self, start: Row) -> Row | None:
        """Completes a row; None where that cannot be."""
        leading = [dimension for dimension in self._dimensions[:LEADING] if dimension.name not in start]
        choices = [list(_items(dimension)) for dimension in leading]
        for choice in choices:
            self._rng.shuffle(choice)
        for begin in itertools.product(*choices):
            row = dict([*start.items(), *begin])
            if self._stands(row) and (full := self._rest(row)) is not None:
                return full
        return None

    def _rest(self, row: Row) -> Row | None:
        others = [dimension for dimension in self._dimensions if dimension.name not in row]
        self._rng.shuffle(others)
        for dimension in others:
            fitting = [name for name in dimension.levels if self._stands({**row, dimension.name: name})]
            if not fitting:
                return None
            row[dimension.name] = max(fitting, key=lambda name: self._gain(row, (dimension.name, name)))
        return row

    def _gain(self, row: Row, item: Item) -> tuple[int, float]:
        found = sum(frozenset((item, other)) in self.open for other in row.items())
        return found, self._rng.random()

    def _stands(self, row: Row) -> bool:
        return all(self._by_name[name].levels[level].fits(row) for name, level in row.items())


def _items(dimension: Dimension) -> Iterator[Item]:
    return ((dimension.name, level) for level in dimension.levels)


def _pairs(row: Row) -> Iterator[Pair]:
    return (frozenset(pair) for pair in itertools.combinations(row.items(), 2))
