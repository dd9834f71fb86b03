"""How many requests a caller may make: `100/second;3000/minute`. Who counts them is `rate_limiter`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from latentfarm.errors import InvalidInput

NO_RATE = "none"
"""Written for a key that no rate holds for, whatever the farm's is."""
ALLOWED = "such as 100/second;3000/minute: one of each of second, minute, hour; or none"
WINDOWS = {"second": 1, "minute": 60, "hour": 3600}
PATTERN = r"^(none|[1-9]\d{0,8}/(second|minute|hour)(;[1-9]\d{0,8}/(second|minute|hour)){0,2})$"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in any window of so long; `window` is its name, which policies go by too."""

    amount: int
    window: str

    @property
    def seconds(self) -> int:
        """Length of the window."""
        return WINDOWS[self.window]


def parse_rates(text: str, field: str) -> tuple[Rate, ...]:
    """What a text says; nothing for `none` and for the empty one.

    Raises:
        InvalidInput: it says something else; names `field`.
    """
    if text in ("", NO_RATE):
        return ()
    parts = [part.partition("/") for part in text.split(";")]
    if not re.fullmatch(PATTERN, text) or len({window for _, _, window in parts}) < len(parts):
        raise InvalidInput(field, f"cannot read {text[:100]!r}", ALLOWED)
    return tuple(Rate(int(amount), window) for amount, _, window in parts)
