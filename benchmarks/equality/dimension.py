"""A dimension of the parameter space: its levels, what each draws, and beside what it can stand."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from latentfarm.samplers import SAMPLERS, Sampler

Fields = dict[str, Any]
Condition = Callable[[Mapping[str, str]], bool]
"""On the levels chosen so far, by dimension."""
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
    fits: Condition = anywhere


@dataclass(frozen=True)
class Dimension:
    """One parameter, or a few that only make sense together.

    Attributes:
        levels: by name; every dimension but model and sampler has `PLAIN`.
        lives: whether stock listens to it at all beside the other levels.
        measured: whether its effect can be measured against its plain level.
        without: what the spec says in place of the drawn fields when that is measured; the plain level's
            fields when absent.
    """

    name: str
    levels: Mapping[str, Level]
    lives: Condition = anywhere
    measured: bool = True
    without: Callable[[Fields], Fields] | None = None

    def plain(self, drawn: Fields) -> Fields:
        """What the spec says where this dimension is plain.

        Args:
            drawn: what it says now.
        """
        if self.without is not None:
            return self.without(drawn)
        level = self.levels.get(PLAIN)
        return {"sampler": "euler"} if level is None else level.draw(random.Random(0))


def row_of(chosen: Mapping[str, str]) -> Sampler | None:
    """The sampler's row of the table, once it is chosen."""
    name = chosen.get("sampler")
    return SAMPLERS[name] if name is not None else None


def if_sampler(takes: Callable[[Sampler], object]) -> Condition:
    """Fits where the sampler takes it; and as long as none is chosen."""
    return lambda chosen: (row := row_of(chosen)) is None or bool(takes(row))


def unless_plain(name: str) -> Condition:
    """Fits where this dimension says something, or is not chosen yet."""
    return lambda chosen: chosen.get(name) != PLAIN


def both(*conditions: Condition) -> Condition:
    """Fits where all of these do."""
    return lambda chosen: all(condition(chosen) for condition in conditions)
