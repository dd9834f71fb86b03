"""When a delivery that failed is tried again."""

from __future__ import annotations

import random

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


def delay_s(tries: int, plan: tuple[float, ...] = DELAYS_S) -> float | None:
    """Seconds until the next try after so many that failed, at least 1; None when that was the last."""
    if tries > len(plan):
        return None
    return plan[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
