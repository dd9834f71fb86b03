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
        uniform: once all its initial latents are moved one way.
        signed: once each of them is moved its own way.
        effects: by parameter, until one was large enough.
    """

    picture: torch.Tensor
    uniform: int
    signed: int
    effects: dict[str, int] = field(default_factory=dict)

    @property
    def floor(self) -> int:
        """How far stock differs from itself."""
        return max(self.uniform, self.signed)

    @property
    def void(self) -> bool:
        """None of the parameters moves the picture enough to tell that it was heeded."""
        return max(self.effects.values(), default=0) <= EFFECT


def measure(stock: Stock, chosen: ParameterSet) -> Measured:
    """Renders a set with stock, then again with moved latents, and without some of its parameters."""
    picture = stock.picture(chosen.given, chosen.seed)

    def moved(moves: Iterable[Move]) -> int:
        return max(
            largest_difference(picture, stock.picture(chosen.given, chosen.seed, move=move)) for move in moves
        )

    effects: dict[str, int] = {}
    for name, given in list(chosen.without.items())[:SUBJECTS]:
        effects[name] = _apart(picture, stock.picture(given, chosen.seed))
        if effects[name] > EFFECT:
            break
    return Measured(picture, moved(all_one_way()), moved(each_its_own_way(chosen.seed)), effects)


def _apart(one: torch.Tensor, other: torch.Tensor) -> int:
    """A picture of another size is another picture."""
    return largest_difference(one, other) if one.shape == other.shape else 255
