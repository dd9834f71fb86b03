"""What templates and sweeps may take to be expanded, besides the images that they give.

Counted in units and not in seconds, so that a manifest is taken or refused alike on every machine. A unit is some 10
microseconds of one core, or less: what a template takes is looked up in its tree, at most, before it is expanded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_UNITS = 400_000_000
"""Of a manifest in a file: an hour of a core, or less."""
MOST_INLINE_UNITS = 1_000_000
"""Of rows in a request, while somebody waits for the answer: ten seconds of a core, or less."""
MARK_UNITS = 40
"""Of a brace, a bar and the like: the parser tries several readings at each."""
_MARKS = "{|}$%#_"
T = TypeVar("T")


def parse_units(text: str) -> int:
    """Units to parse a text as a template, about."""
    return 1 + MARK_UNITS * sum(map(text.count, _MARKS))


class Effort:
    """Adds up the units of one manifest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    @property
    def is_over(self) -> bool:
        """Whether the limit was passed: an error that no row is left out for."""
        return self._left < 0

    def spend(self, units: int, field: str = "prompt") -> None:
        """Takes so many units, before they are taken.

        Raises:
            InvalidInput: they are too many; names the field whose expansion they would be.
        """
        self._left -= units
        if self._left < 0:
            raise InvalidInput(
                field,
                "the templates and sweeps of the manifest take too long to be expanded",
                f"up to {self._limit} units: fewer or shorter templates, shorter wildcards; rows in a file may take"
                f" {MOST_UNITS}",
            )

    def parsing(self, parse: Callable[[str], T]) -> Callable[[str], T]:
        """The same, with its units taken first."""

        def counted(text: str) -> T:
            self.spend(parse_units(text))
            return parse(text)

        return counted
