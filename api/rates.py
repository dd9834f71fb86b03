"""How often somebody may ask: per key, or per tenant without one; and how often an address may fail to show a key.

Asked after the key and before the body, which nobody reads of a request that is refused.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders

from api.binding import is_loopback
from api.problems import ProblemError
from latentfarm.rate_limiter import RateLimiter
from latentfarm.rates import Rate, parse_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from latentfarm.api_keys import ApiKey
    from latentfarm.rate_limiter import Standing
    from latentfarm.settings import Settings

ELSEWHERE, FAILURES_ELSEWHERE = "100/second;3000/minute", "20/minute"
"""Where others than this machine reach the API, and no setting says otherwise."""
REMEMBERED = 10_000
"""Addresses that are refused, and keys that were good of late: of each so many are known to a process."""
_STATE = "rate_headers"
K = TypeVar("K")
V = TypeVar("V")


class Rates:
    """What holds for whom. `refused`: requests that were turned away, for metrics."""

    def __init__(self, settings: Settings) -> None:
        local = is_loopback(settings.api_host)
        told, failing = settings.rate_limit, settings.auth_failure_limit
        self._rates = parse_rates(told if told is not None else "" if local else ELSEWHERE, "rate_limit")
        self._failures = parse_rates(
            failing if failing is not None else "" if local else FAILURES_ELSEWHERE, "auth_failure_limit"
        )
        self.limiter = RateLimiter(settings.redis_url)
        self.refused = {"rate": 0, "failed_keys": 0}
        self._lock = threading.Lock()
        self._blocked: OrderedDict[str, float] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def admit(self, request: Request, key: ApiKey | None, tenant: str) -> ProblemError | None:
        """Counts a request; the refusal, when it is one too many. Tells how the caller stands either way."""
        own = None if key is None else key.rate
        rates = self._rates if own is None else parse_rates(own, "rate")
        if not rates:
            return None
        who = f"tenant/{tenant}" if key is None else f"key/{key.prefix}"
        found = await run_in_threadpool(self.limiter.hit, rates, who)
        if not found:
            return None
        setattr(request.state, _STATE, _headers(found))
        full = [one for one in found if not one.allowed]
        return self._refuse("rate", _told(full[0].rate), max(one.reset_s for one in full)) if full else None

    def check_address(self, request: Request, token: str) -> ProblemError | None:
        """The refusal of an address that has shown too many wrong keys. Keys that were good of late pass."""
        address = address_of(request)
        with self._lock:
            left_s = self._blocked.get(address, 0.0) - time.monotonic()
            if left_s <= 0 or _mark(token) in self._good:
                return None
        return self._refuse("failed_keys", "too many wrong keys came from this address", int(left_s) + 1)

    async def failed(self, request: Request) -> None:
        """Counts a wrong key."""
        address = address_of(request)
        if not self._failures:
            return
        found = await run_in_threadpool(self.limiter.hit, self._failures, f"address/{address}")
        waits = [one.reset_s for one in found if not one.remaining]
        if waits:
            with self._lock:
                _remember(self._blocked, address, time.monotonic() + max(waits))

    def passed(self, token: str) -> None:
        """Notes that a key is good. Not that it stays so: it is looked up again each time."""
        if self._failures:
            with self._lock:
                _remember(self._good, _mark(token), None)

    def _refuse(self, why: str, detail: str, retry_s: int) -> ProblemError:
        with self._lock:
            self.refused[why] += 1
        return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", detail, retry_s=retry_s)


class RateHeaders:
    """ASGI middleware: `RateLimit` and `RateLimit-Policy` on every answer to who was counted, whatever it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        # What the routes see is this very dictionary.
        state = scope.setdefault("state", {})

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(state.get(_STATE, {}))
            await send(message)

        await self._app(scope, receive, told)


def address_of(request: Request) -> str:
    """Whom an address belongs to: of IPv6 the network of 64 bits, of which one household has at least one."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None or address.version == 4:
        return str(mapped or address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _headers(found: Sequence[Standing]) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers has them: lists of structured fields, an item for each policy."""
    return {
        "RateLimit-Policy": ", ".join(
            f'"{one.rate.window}";q={one.rate.amount};w={one.rate.seconds}' for one in found
        ),
        "RateLimit": ", ".join(f'"{one.rate.window}";r={one.remaining};t={one.reset_s}' for one in found),
    }


def _told(rate: Rate) -> str:
    return f"more than {rate.amount} requests in a {rate.window}"


def _mark(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _remember(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > REMEMBERED:
        known.popitem(last=False)
