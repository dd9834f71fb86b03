"""How long a request waits: as long as the operator lets it, and less than its client says that it does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOLD = ("x-stainless-read-timeout", "x-stainless-timeout")
"""Seconds that the stock clients wait for an answer: Python's and Node's names for it."""
RUNTIME = "x-stainless-runtime"
NODE_S = 300.0
"""Node's own fetch gives an answer up that has not begun by then, whatever the client's limit is."""
EARLIER_S = 5.0
"""By so much the answer comes before the client would hang up; or by a fifth of its time, where that is less."""


def patience_s(headers: Mapping[str, str], most_s: float) -> float:
    """Seconds after which a request without an answer is told that it was too long.

    A client that hangs up instead begins again, at the end of the queue, and what was rendered is lost.

    Args:
        most_s: as the operator has it.
    """
    return min([most_s, *(told - min(EARLIER_S, told / 5) for told in _limits(headers))])


def _limits(headers: Mapping[str, str]) -> Iterator[float]:
    for name in TOLD:
        told = _seconds(headers.get(name, ""))
        if told is not None:
            yield told
    if headers.get(RUNTIME) == "node":
        yield NODE_S


def _seconds(text: str) -> float | None:
    """Anybody may write anything there: what is no time is no limit."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
