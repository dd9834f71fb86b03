"""Arms that take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def brief(self) -> str:
        """`1.52 (1.48 to 1.60)`."""
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def take_turns(
    arms: Mapping[str, Callable[[], float]], rounds: int, *, warm: int = 0
) -> dict[str, list[float]]:
    """What each arm gives in each round.

    The order is turned round every other round: an arm that always came second would have the caches of the
    first, and its garbage.

    Args:
        arms: each measures once.
        rounds: that count.
        warm: rounds before these, which do not.
    """
    names = list(arms)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            value = arms[name]()
            if number >= 0:
                found[name].append(value)
    return found


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """How many times the second arm the first one is, round by round."""
    return Spread.of([one / other for one, other in zip(over, under, strict=True)])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
