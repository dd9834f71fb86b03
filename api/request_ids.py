"""A name for each request: in its answer, where stock clients look for it, and in every line that is logged of it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"
"""OpenAI's clients show it as `_request_id` and `request_id`; huggingface_hub's errors have it in their text."""
NAME = "latentfarm.request_id"
"""Key of a request's scope, for who answers outside of all middleware: for what nobody foresaw."""


class RequestIds:
    """ASGI middleware, to be the outermost: what others answer in place of the routes is named too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Ours, and not the client's: what a stranger writes is no name to search logs by.
        request_id = scope[NAME] = f"req_{secrets.token_hex(16)}"

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with bound_contextvars(request_id=request_id):
            await self._app(scope, receive, named)
