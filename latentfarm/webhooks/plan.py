"""When a delivery that failed is tried again."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MINUTE_S, HOUR_S = 60.0, 3_600.0
DELAYS_S = (
    5.0,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)
"""Seconds after each try that failed: ten tries within about three days, as Standard Webhooks has it."""
JITTER = 0.2
"""Share of a delay that is left to chance: those who failed together must not come back together."""


_SECONDS = re.compile(r"[0-9]{1,9}")


def delay_s(tries: int, plan: tuple[float, ...] = DELAYS_S, *, wait_s: float = 0.0) -> float | None:
    """Seconds until the next try after so many that failed, at least 1; None when that was the last.

    Args:
        wait_s: that the receiver has asked for. Not sooner than that, and no later for it than the plan ever waits.
    """
    if tries > len(plan):
        return None
    own = plan[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    if wait_s <= own:
        return own
    return max(own, min(wait_s, max(plan)) * random.uniform(1, 1 + JITTER))  # noqa: S311 - the same


def wait_s(header: str | None, now: datetime) -> float:
    """Seconds that a `Retry-After` asks for: a number, or a date of HTTP; 0 where it says neither, or what is past."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    # HTTP's dates are in GMT; one that does not say so has no offset.
    return max(0.0, ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds())
