"""A stream of images: one event for each, as soon as it and those before it are done; and previews before it."""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import iterate_in_threadpool

from api.openai.answers import NO_USAGE, in_base64, terms, there
from api.openai.errors import error_of
from api.openai.waiting import check
from api.problems import RETRY_S, ProblemError
from latentfarm.errors import LatentfarmError
from latentfarm.logs import get_logger
from latentfarm.states import FINAL_JOB, RenderState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from api.openai.waiting import Page, Wait
    from latentfarm.previews import Preview
    from latentfarm.records import Image
    from latentfarm.storage import S3Store

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


_AT_WORK = b": still at work\n\n"
"""Keeps proxies from closing the stream."""


class ImageEvents(StreamingResponse):
    """The answer to a request with `stream`.

    Args:
        kind: what the types of its events begin with: `image_generation` or `image_edit`.
    """

    def __init__(self, wait: Wait, store: S3Store, *, kind: str, quality: str) -> None:
        self._job = wait
        self._store = store
        self._kind = kind
        self._quality = quality
        self._within_line = False
        # How many previews were sent, by index of the image.
        self._partial: Counter[int] = Counter()
        super().__init__(self._lines(), media_type="text/event-stream", headers=_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream; a job whose client goes away meanwhile is given up."""
        async with self._job:
            await super().__call__(scope, receive, send)

    async def _lines(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._told():
                yield piece
        except (LatentfarmError, ProblemError, SQLAlchemyError) as error:
            if self._within_line:
                # Nothing can be told any more: the connection ends, and the client knows that.
                raise
            yield _failure(error)

    async def _told(self) -> AsyncIterator[bytes]:
        shown = 0
        async with contextlib.aclosing(self._job.pages()) as pages:
            async for page in pages:
                if page is None:
                    yield _AT_WORK
                    continue
                partial, ready = self._previews(page, shown), _in_order(page, shown)
                for piece in partial:
                    yield piece
                for image in ready:
                    async for piece in self._event(page, image):
                        yield piece
                shown += len(ready)
                if not (ready or partial):
                    yield _AT_WORK
                if page.job.state in FINAL_JOB:
                    check(page)

    def _previews(self, page: Page, shown: int) -> list[bytes]:
        """Events for the previews that have come, of images that were not shown yet."""
        found = []
        while self._job.previews:
            one = self._job.previews.popleft()
            number = self._partial[one.index]
            if one.index >= shown and number < self._job.wished:
                self._partial[one.index] += 1
                found.append(self._partial_event(page, one, number))
        return found

    def _partial_event(self, page: Page, one: Preview, number: int) -> bytes:
        kind = f"{self._kind}.partial_image"
        fields = {
            "type": kind,
            "created_at": int(page.job.created_at.timestamp()),
            **terms(page, self._quality),
            "output_format": "jpeg",
            "partial_image_index": number,
            "job": str(page.job.id),
            "seed": page.images[one.index].seed,
            "b64_json": base64.b64encode(one.data).decode(),
        }
        return b"event: " + kind.encode() + b"\ndata: " + json.dumps(fields).encode() + b"\n\n"

    async def _event(self, page: Page, image: Image) -> AsyncIterator[bytes]:
        kind = f"{self._kind}.completed"
        fields = {
            "type": kind,
            "created_at": int(page.job.created_at.timestamp()),
            **terms(page, self._quality),
            "usage": NO_USAGE,
            "job": str(page.job.id),
            "seed": image.seed,
        }
        pieces = iterate_in_threadpool(in_base64(self._store.stream(there(image).key)))
        # The first piece before the line: a store that is away must be told of in a line of its own.
        first = await anext(aiter(pieces), b"")
        head = json.dumps(fields)[:-1].encode()
        self._within_line = True
        yield b"event: " + kind.encode() + b"\ndata: " + head + b', "b64_json": "' + first
        async for piece in pieces:
            yield piece
        yield b'"}\n\n'
        self._within_line = False


def _in_order(page: Page, first: int) -> list[Image]:
    """The finished images from `first` on, up to one that is not done."""
    found = []
    for image in page.images[first:]:
        if image.state is not RenderState.SUCCEEDED:
            break
        found.append(image)
    return found


def _failure(error: Exception) -> bytes:
    if not isinstance(error, ProblemError):
        get_logger().warning("stream_broken", error=type(error).__name__)
        error = ProblemError(
            503, "service_unavailable", "a service that is needed does not answer", retry_s=RETRY_S
        )
    told: dict[str, Any] = {"type": "error", "error": error_of(error)}
    return b"event: error\ndata: " + json.dumps(told).encode() + b"\n\n"
