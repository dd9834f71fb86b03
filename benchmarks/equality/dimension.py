"""A dimension of the parameter space: its levels, what each draws, and beside what it can stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentfarm.samplers import SAMPLERS, Sampler

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

Fields = dict[str, Any]
PLAIN = "plain"
"""The level of every dimension in which the spec says nothing."""


def nothing(_rng: random.Random) -> Fields:
    """What the plain level draws."""
    return {}


def anywhere(_chosen: Mapping[str, str]) -> bool:
    """No condition."""
    return True


@dataclass(frozen=True)
class Level:
    """A part of a field's range.

    Attributes:
        draw: the spec's fields, with values out of that part.
        fits: whether it can stand beside the levels chosen so far, by dimension. Those that are not
            chosen yet must not turn a no into a yes.
    """

    draw: Callable[[random.Random], Fields] = nothing
    fits: Callable[[Mapping[str, str]], bool] = anywhere


@dataclass(frozen=True)
class Dimension:
    """One parameter, or a few that only make sense together.

    Attributes:
        levels: by name; every dimension but model and sampler has `PLAIN`.
        lives: whether stock listens to it at all beside the other levels.
        measured: whether its effect can be measured against its plain level.
    """

    name: str
    levels: Mapping[str, Level]
    lives: Callable[[Mapping[str, str]], bool] = anywhere
    measured: bool = True


def row_of(chosen: Mapping[str, str]) -> Sampler | None:
    """The sampler's row of the table, once it is chosen."""
    name = chosen.get("sampler")
    return SAMPLERS[name] if name is not None else None


def if_sampler(takes: Callable[[Sampler], object]) -> Callable[[Mapping[str, str]], bool]:
    """Fits where the sampler takes it; and as long as none is chosen."""
    return lambda chosen: (row := row_of(chosen)) is None or bool(takes(row))


def unless_plain(name: str) -> Callable[[Mapping[str, str]], bool]:
    """Fits where this dimension says something, or is not chosen yet."""
    return lambda chosen: chosen.get(name) != PLAIN


def both(*conditions: Callable[[Mapping[str, str]], bool]) -> Callable[[Mapping[str, str]], bool]:
    """Fits where all of these do."""
    return lambda chosen: all(condition(chosen) for condition in conditions)
