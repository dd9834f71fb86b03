"""An answer in bounded time, also while a service neither answers nor refuses.

A frozen database keeps a thread waiting for as long as it is frozen, and a thread cannot be stopped. So
the request is answered without it, and what the thread may still do is kept by its Idempotency-Key.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request

from api.problems import ProblemError, answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY_S = 5
WAITS = "latentfarm.waits"
"""Key of a request's scope: it waits on purpose, and has a limit of its own."""
LATE = "latentfarm.late"
"""Key of a request's scope: it has been answered without its route."""


class Deadline:
    """ASGI middleware: 503 when a response has not begun after `seconds`.

    One that has begun may take its time, and so may a route that has put `WAITS` into the scope by then.
    """

    def __init__(self, app: ASGIApp, seconds: float = 20.0) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = asyncio.Event()
        late = False

        async def in_time(message: Message) -> None:
            begun.set()
            if not late:
                await send(message)

        work = asyncio.ensure_future(self._app(scope, receive, in_time))
        waiting = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait({work, waiting}, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            waiting.cancel()
        if begun.is_set() or work.done() or WAITS in scope:
            await work
            return
        late = scope[LATE] = True
        work.add_done_callback(_forget)
        detail = f"no answer within {self._seconds:g} s: a service that is needed for this is stuck"
        problem = ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too_late", detail, retry_s=RETRY_S)
        await answer(Request(scope), problem)(scope, receive, send)


def _forget(work: asyncio.Future[None]) -> None:
    """Nobody waits for it any more, so nobody is to be told how it ended."""
    if not work.cancelled():
        work.exception()
