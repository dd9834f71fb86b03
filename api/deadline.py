"""An answer in bounded time, also while a service neither answers nor refuses.

A frozen database keeps a thread waiting for as long as it is frozen, and a thread cannot be stopped. So
the request is answered without it, and what the thread may still do is kept by its Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from api.problems import ProblemError, answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY_S = 5
LATE = "latentfarm.late"
"""Key of a request's scope: it has been answered without its route."""
PATIENCE = "latentfarm.patience"
"""Where in the scope whoever answers late on purpose finds the `Patience` of its request."""


@dataclass(slots=True)
class Patience:
    """Further seconds that an answer may take: the client has asked for it, or a route knows of a limit of its own."""

    seconds: float = 0.0


class Deadline:
    """ASGI middleware: 503 when a response has not begun after `seconds`.

    One that has begun may take its time; whoever answers late on purpose adds to the `Patience` of the request.
    """

    def __init__(self, app: ASGIApp, seconds: float = 20.0) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, patience = asyncio.Event(), Patience()
        late = False

        async def in_time(message: Message) -> None:
            begun.set()
            if not late:
                await send(message)

        scope[PATIENCE] = patience
        work = asyncio.ensure_future(self._app(scope, receive, in_time))
        waiting = asyncio.ensure_future(begun.wait())
        try:
            await self._first({work, waiting}, patience)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            waiting.cancel()
        if begun.is_set() or work.done():
            await work
            return
        late = scope[LATE] = True
        work.add_done_callback(_forget)
        detail = f"no answer within {self._seconds:g} s: a service that is needed for this is stuck"
        problem = ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too_late", detail, retry_s=RETRY_S)
        await answer(Request(scope), problem)(scope, receive, send)

    async def _first(self, either: Iterable[asyncio.Future[Any]], patience: Patience) -> None:
        """Returns when one of them is done, or the time is over."""
        begun_at = time.monotonic()
        while (left_s := begun_at + self._seconds + patience.seconds - time.monotonic()) > 0:
            if (await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED))[0]:
                return


def _forget(work: asyncio.Future[None]) -> None:
    """Nobody waits for it any more, so nobody is to be told how it ended."""
    if not work.cancelled():
        work.exception()
