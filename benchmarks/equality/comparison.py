"""One set's pictures beside stock's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from tests.rig import largest_difference, stock_image

if TYPE_CHECKING:
    from benchmarks.equality.sets import ParameterSet
    from worker.engine.model import LoadedModel

NUDGE = 1e-6
"""By which stock's initial latents are moved to see how far it then differs from itself."""
EFFECT = 8
"""Steps of 1/255 that a parameter must move the picture by, somewhere."""
SUBJECTS = 4
"""Parameters of a set that are measured before it counts as void."""


@dataclass(slots=True)
class Comparison:
    """What was found out about one set; differences in steps of 1/255.

    Attributes:
        floor: how far stock differs from itself once its initial latents are moved.
        effects: by parameter, until one was large enough.
        single: of the farm with a bucket of one.
        mixed: of the farm with the default bucket, among others.
        bit_equal: whether it was the same picture alone and among others.
        error: what went wrong instead.
    """

    chosen: ParameterSet
    stock: torch.Tensor
    floor: int
    effects: dict[str, int] = field(default_factory=dict)
    single: int | None = None
    mixed: int | None = None
    bit_equal: bool | None = None
    error: str = ""

    @property
    def void(self) -> bool:
        """None of the parameters moves stock's picture enough to tell that it was heeded."""
        return max(self.effects.values(), default=0) <= EFFECT

    @property
    def within_floor(self) -> bool:
        """A difference of 1 is rounding, whatever the floor."""
        return self.mixed is not None and self.mixed <= max(self.floor, 1)


def compare_with_itself(model: LoadedModel, chosen: ParameterSet) -> Comparison:
    """Renders a set with stock, then again with moved latents, and without some of its parameters."""
    stock = _render(model, chosen)
    moved = [_render(model, chosen, nudge=nudge) for nudge in (NUDGE, -NUDGE)]
    found = Comparison(chosen, stock, max(largest_difference(stock, other) for other in moved))
    for name, spec in list(chosen.without.items())[:SUBJECTS]:
        with torch.no_grad():
            plain = stock_image(model, spec, chosen.seed)
        found.effects[name] = largest_difference(stock, plain)
        if found.effects[name] > EFFECT:
            break
    return found


def _render(model: LoadedModel, chosen: ParameterSet, *, nudge: float = 0.0) -> torch.Tensor:
    with torch.no_grad():
        return stock_image(model, chosen.spec, chosen.seed, nudge=nudge)
