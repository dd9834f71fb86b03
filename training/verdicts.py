"""What must hold of every effect, whoever painted the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from training import effects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.painter import Painter

Bounds = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Effect:
    """One parameter's effect.

    Attributes:
        measure: gives the two averages.
        steps: enough for pictures that can be judged.
        judge: names the bounds, with `value`, `bound` and `met` of each.
    """

    measure: Callable[[Painter, Sequence[int], int], effects.Pairing]
    steps: int
    judge: Callable[[float, float], Bounds]


def at_least(value: float, bound: float) -> dict[str, Any]:
    """A bound from below."""
    return {"value": round(value, 3), "bound": bound, "met": value >= bound}


def at_most(value: float, bound: float) -> dict[str, Any]:
    """A bound from above."""
    return {"value": round(value, 3), "bound": bound, "met": value <= bound}


def _between(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": round(value, 3), "bound": [low, high], "met": low <= value <= high}


EFFECTS: Final[dict[str, Effect]] = {
    "object_by_prompt": Effect(
        effects.object_by_prompt,
        20,
        # 1 of 24 by chance.
        lambda other, own: {"own": at_least(own, 0.8), "anothers": at_most(other, 0.2)},
    ),
    "ideal_by_refiner": Effect(
        effects.ideal_by_refiner, 20, lambda alone, refined: {"nearer": at_most(refined / alone, 0.97)}
    ),
    "style_by_second_prompt": Effect(
        effects.style_by_second_prompt,
        8,
        lambda unasked, asked: {"asked": at_least(asked, 0.7), "gain": at_least(asked - unasked, 0.3)},
    ),
    "ground_by_negative_prompt": Effect(
        effects.ground_by_negative_prompt,
        8,
        # One of three by chance.
        lambda free, pushed: {"free": at_least(free, 0.2), "left": at_most(pushed, free * 2 / 3)},
    ),
    "shift_by_crop": Effect(
        effects.shift_by_crop,
        8,
        lambda up, left: {"up": _between(up, 18, 44), "left": _between(left, 18, 44)},
    ),
    "blur_by_original_size": Effect(
        effects.blur_by_original_size, 8, lambda full, small: {"sharpness": at_most(small / full, 0.9)}
    ),
    "noise_by_aesthetic_score": Effect(
        effects.noise_by_aesthetic_score, 15, lambda best, worst: {"noise": at_least(worst / best, 1.3)}
    ),
    "change_by_strength": Effect(
        effects.change_by_strength,
        12,
        lambda weak, strong: {"weak": at_most(weak, 0.1), "strong": at_least(strong, 0.7)},
    ),
    "painted_inside_mask": Effect(
        effects.painted_inside_mask,
        12,
        # 6 of 255 is what passing through the VAE costs.
        lambda followed, outside: {"inside": at_least(followed, 0.7), "outside": at_most(outside, 6)},
    ),
}


def measured(painter: Painter, name: str, seeds: Sequence[int]) -> tuple[effects.Pairing, Bounds]:
    """An effect's two averages, and its bounds."""
    effect = EFFECTS[name]
    pairing = effect.measure(painter, seeds, effect.steps)
    return pairing, effect.judge(*pairing)
