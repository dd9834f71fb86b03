"""Requests of the client: tried again while that can help, and problems turned into our errors."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import ValidationError

from latentfarm.errors import (
    SOURCE_CODES,
    Conflict,
    Ended,
    IdempotencyMismatch,
    InvalidInput,
    LatentfarmError,
    MalformedJson,
    ManifestChanged,
    ManifestError,
    NotFound,
    NotSupported,
    OverQuota,
    RenderError,
    ServiceUnavailable,
    SourceGone,
    TooMuchQueued,
    UnknownModel,
)
from latentfarm.views import ComplaintView, ProblemView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_S = 5.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

_BY_CODE: dict[str, type[InvalidInput]] = {
    kind.code: kind for kind in (NotSupported, UnknownModel, IdempotencyMismatch, MalformedJson)
}


class Http:
    """One connection pool to one API.

    Args:
        base_url: such as `http://127.0.0.1:8400`.
        timeout_s: for one answer.
        retry_s: how long a request is repeated while the API is away; 0: not at all.
        key: an API key, sent with every request to the API and to nobody else.
    """

    def __init__(self, base_url: str, *, timeout_s: float, retry_s: float, key: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.retry_s = retry_s
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        _check_address(self.base_url)
        headers = {} if key is None else {"Authorization": f"Bearer {_checked(key)}"}
        self.client = httpx.Client(base_url=self.base_url, timeout=timeout, headers=headers)

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One answer with a status below 400. Every request of this client may be repeated safely.

        Raises:
            InvalidInput: 400, 413, 415 or 422; names the field.
            NotAllowed: 401 or 403.
            NotFound, Conflict, SourceGone, RenderError: 404, 409, 409, 410.
            TooMuchQueued: 429, with the seconds to wait; of kind `OverQuota` (also 403): a quota.
            ServiceUnavailable: no answer, or 503, for `retry_s`; of kind `RateLimited`: too many requests for so long.
        """
        for last_try in self.tries():
            try:
                response = self.client.request(method, path, **given)
                if response.status_code < 400:
                    return response
                raise error_of(response)
            except httpx.TransportError as error:
                if last_try:
                    raise self.away(error) from error
            except LatentfarmError as error:
                if last_try or not may_repeat(error):
                    raise
                if isinstance(error, RateLimited):
                    time.sleep(error.wait_s)
        raise AssertionError("unreachable")

    def tries(self) -> Iterator[bool]:
        """Pauses between tries, longer each time; yields whether this is the last one."""
        end = time.monotonic() + self.retry_s
        pause_s = FIRST_PAUSE_S
        while time.monotonic() + pause_s < end:
            yield False
            # Many clients that lost the same API must not come back at the same moment.
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        yield True

    def away(self, error: httpx.TransportError) -> ServiceUnavailable:
        """What to raise when the API cannot be reached."""
        return ServiceUnavailable(f"no answer from {self.base_url}: {error or type(error).__name__}")


def _check_address(address: str) -> None:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput("base_url", f"{address!r} is no HTTP address", "such as http://127.0.0.1:8400")


def _checked(key: str) -> str:
    """Not repeated in the error: it may be nearly the key."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput("key", "no API key", "as `latentfarm keys create` printed it")
    return key


class NotAllowed(LatentfarmError):  # noqa: N818 - says what it is
    """The API wants a key, or one that may do more; the message says which scope is missing."""


class RateLimited(ServiceUnavailable):
    """The key, or its tenant, asks too often; there is room after `wait_s`, and then the client asks again by itself."""

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class RacingCall(Conflict):
    """Another call with the same Idempotency-Key is still at it."""


def may_repeat(error: LatentfarmError) -> bool:
    """Whether asking again soon may give another answer."""
    return isinstance(error, ServiceUnavailable | RacingCall)


def error_of(response: httpx.Response) -> LatentfarmError:
    """What a problem document says, as one of our errors."""
    try:
        problem = ProblemView.model_validate_json(response.content)
    except ValidationError:
        return _other(response.status_code, f"HTTP {response.status_code} from {response.url}")
    if problem.quota is not None:
        wait_s = int(response.headers.get("Retry-After", "0"))
        return OverQuota(problem.detail, wait_s, problem.quota.model_dump(mode="json"))
    if problem.errors:
        return _complained(problem.errors[0])
    if problem.status == 409:
        return _conflict(problem)
    if problem.status == 429:
        too_often = problem.type.endswith(":rate_limited")
        kind = RateLimited if too_often else TooMuchQueued
        return kind(problem.detail, int(response.headers.get("Retry-After", "1")))
    return _other(problem.status, problem.detail)


def _conflict(problem: ProblemView) -> LatentfarmError:
    code = problem.type.rsplit(":", 1)[-1]
    if code == RacingCall.code:
        return RacingCall(problem.detail)
    if code == Ended.code:
        return Ended(problem.detail)
    return SourceGone(code, problem.detail) if code in SOURCE_CODES else Conflict(problem.detail)


def _complained(first: ComplaintView) -> InvalidInput:
    about = first.field, first.message, first.allowed
    if first.line is not None:
        return ManifestError(*about, line=first.line, code=first.code)
    if first.code == ManifestChanged.code:
        return ManifestChanged.told(*about)
    return _BY_CODE.get(first.code, InvalidInput)(*about)


def _other(status: int, detail: str) -> LatentfarmError:
    kinds: Mapping[int, type[LatentfarmError]] = {
        401: NotAllowed,
        403: NotAllowed,
        404: NotFound,
        409: Conflict,
        410: RenderError,
        502: ServiceUnavailable,
        503: ServiceUnavailable,
        504: ServiceUnavailable,
    }
    return kinds.get(status, LatentfarmError)(detail)
