"""One set's pictures beside stock's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tests.rig import largest_difference

if TYPE_CHECKING:
    from benchmarks.equality.measuring import Floor, Measured
    from benchmarks.equality.sets import ParameterSet

ROUNDING = 1
"""A difference that is rounding, whatever the floor."""


@dataclass(slots=True)
class Comparison:
    """What was found out about one set.

    Attributes:
        number: of the set in its draw.
        measured: stock's side; None where stock raised.
        alone: the farm's picture with the default bucket and nothing else in the farm.
        mixed: the same among others.
        single: with a bucket of one.
        floor: how far stock is from itself; None where it was not asked.
        error: what went wrong instead.
    """

    number: int
    chosen: ParameterSet
    measured: Measured | None = None
    alone: torch.Tensor | None = None
    mixed: torch.Tensor | None = None
    single: torch.Tensor | None = None
    floor: Floor | None = None
    error: str = ""

    @property
    def off_alone(self) -> int | None:
        """How far the farm is from stock with a bucket of one, in steps of 1/255."""
        return self._off(self.single)

    @property
    def off_mixed(self) -> int | None:
        """The same with the default bucket, among others."""
        return self._off(self.mixed)

    @property
    def needs_floor(self) -> bool:
        """Whether only the floor can tell if the picture is good."""
        return (self.off_mixed or 0) > ROUNDING

    @property
    def within_floor(self) -> bool:
        """Whether the farm's rounding shows no more than stock's own."""
        highest = ROUNDING if self.floor is None else max(self.floor.highest, ROUNDING)
        return self.off_mixed is not None and self.off_mixed <= highest

    @property
    def bit_equal(self) -> bool:
        """Whether it was the same picture alone and among others."""
        return self.alone is not None and self.mixed is not None and torch.equal(self.alone, self.mixed)

    @property
    def void(self) -> bool:
        """None of its parameters shows."""
        return self.measured is None or self.measured.void

    def _off(self, pixels: torch.Tensor | None) -> int | None:
        if self.measured is None or pixels is None:
            return None
        stock = self.measured.picture
        return largest_difference(pixels, stock) if pixels.shape == stock.shape else 255
