"""Counts requests in Redis, for all processes of the API together; while Redis is away, it counts none and refuses none."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from latentfarm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.rates import Rate

PREFIX = "latentfarm:rates"
"""Of its keys in Redis; each goes by itself after two windows."""
ANSWER_S = 0.25
"""Seconds that Redis may take. A request must not wait for what it does not need."""
REST_S = 1.0
"""Seconds for which Redis is left alone once it did not answer."""
_ITEMS: dict[str, type[RateLimitItem]] = {
    "second": RateLimitItemPerSecond,
    "minute": RateLimitItemPerMinute,
    "hour": RateLimitItemPerHour,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with one rate; `reset_s`: whole seconds until there is more room."""

    rate: Rate
    allowed: bool
    remaining: int
    reset_s: int


class RateLimiter:
    """Sliding windows by the library `limits`. Thread-safe; connects when it is first asked."""

    def __init__(self, redis_url: str) -> None:
        storage = RedisStorage(
            redis_url, key_prefix=PREFIX, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
        )
        self._redis = storage.storage
        self._windows = SlidingWindowCounterRateLimiter(storage)
        self._lock = threading.Lock()
        self._away_until: float | None = None
        self.errors = 0

    def hit(self, rates: Sequence[Rate], who: str) -> list[Standing]:
        """Counts one request against each rate; empty when Redis cannot say.

        The shortest window is asked first, and longer ones do not count what it refuses: who comes back when told must
        not find those used up by what was refused.

        Args:
            who: kept apart from all others.
        """
        if self._away_until is not None and time.monotonic() < self._away_until:
            self._count_error()
            return []
        try:
            found = self._count(rates, who)
        except RedisError as error:
            self._stay_away(error)
            return []
        self._away_until = None
        return found

    def close(self) -> None:
        """Ends the connections."""
        self._redis.close()

    def _count(self, rates: Sequence[Rate], who: str) -> list[Standing]:
        found: dict[Rate, Standing] = {}
        for rate in sorted(rates, key=lambda one: one.seconds):
            found[rate] = self._stand(rate, who, counts=all(one.allowed for one in found.values()))
        return [found[rate] for rate in rates]

    def _stand(self, rate: Rate, who: str, *, counts: bool) -> Standing:
        item = _ITEMS[rate.window](rate.amount)
        allowed = self._windows.hit(item, who) if counts else self._windows.test(item, who)
        stats = self._windows.get_window_stats(item, who)
        reset_s = max(1, math.ceil(stats.reset_time - time.time()))
        return Standing(rate, allowed, stats.remaining if allowed else 0, min(reset_s, rate.seconds))

    def _stay_away(self, error: RedisError) -> None:
        # Said once, not with each request that passes meanwhile.
        if self._away_until is None:
            get_logger().warning("rate_limits_open", error=str(error) or type(error).__name__)
        self._away_until = time.monotonic() + REST_S
        self._count_error()

    def _count_error(self) -> None:
        with self._lock:
            self.errors += 1
