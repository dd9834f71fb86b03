"""Bodies are what their `Content-Type` says: browsers are told not to guess.

Some of what is sent on was written by users: images with what they say of themselves, files of batches. None of it may be
taken for a page of this origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Content-Type-Options"
AS_TYPED = "nosniff"


class AsTyped:
    """ASGI middleware: the header on every answer but those to what nobody foresaw, which pass by all middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = AS_TYPED
            await send(message)

        await self._app(scope, receive, told)
