"""How far stock's picture of a set moves: by 1e-6 in its latents, and by the set's parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.floor import all_one_way, each_its_own_way
from tests.rig import largest_difference

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from benchmarks.equality.sets import ParameterSet
    from benchmarks.equality.stock import Stock
    from tests.floor import Move

EFFECT = 8
"""Steps of 1/255 that a parameter must move the picture by, somewhere."""
SUBJECTS = 4
"""Parameters of a set that are measured before it counts as void."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Stock's picture and how it moves; in steps of 1/255.

    Attributes:
        picture: `[height, width, 3]`, uint8.
        effects: by parameter, until one was large enough.
    """

    picture: torch.Tensor
    effects: dict[str, int] = field(default_factory=dict)

    @property
    def void(self) -> bool:
        """None of the parameters moves the picture enough to tell that it was heeded."""
        return max(self.effects.values(), default=0) <= EFFECT


@dataclass(frozen=True, slots=True)
class Floor:
    """How far stock differs from itself, in steps of 1/255.

    Attributes:
        uniform: once all initial latents are moved one way.
        signed: once each of them is moved its own way.
    """

    uniform: int
    signed: int

    @property
    def highest(self) -> int:
        """Of both."""
        return max(self.uniform, self.signed)


def measure(stock: Stock, chosen: ParameterSet) -> Measured:
    """Renders a set with stock, and again without some of its parameters."""
    picture = stock.picture(chosen.given, chosen.seed)
    effects: dict[str, int] = {}
    for name, given in list(chosen.without.items())[:SUBJECTS]:
        effects[name] = _apart(picture, stock.picture(given, chosen.seed))
        if effects[name] > EFFECT:
            break
    return Measured(picture, effects)


def measure_floor(stock: Stock, chosen: ParameterSet) -> Floor:
    """Renders a set with stock, and again with moved latents."""
    picture = stock.picture(chosen.given, chosen.seed)

    def moved(moves: Iterable[Move]) -> int:
        return max(
            largest_difference(picture, stock.picture(chosen.given, chosen.seed, move=move)) for move in moves
        )

    return Floor(moved(all_one_way()), moved(each_its_own_way(chosen.seed)))


def _apart(one: torch.Tensor, other: torch.Tensor) -> int:
    """A picture of another size is another picture."""
    return largest_difference(one, other) if one.shape == other.shape else 255
