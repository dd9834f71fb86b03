"""Bodies that are larger than memory should hold: to a file as they come, and read from there."""

from __future__ import annotations

import mmap
import tempfile
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from api.deadline import PATIENCE
from api.problems import ProblemError
from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

UPLOAD_S = 120.0
"""Further seconds that a body may take to come in."""


@asynccontextmanager
async def spooled(
    request: Request, most: int, *, kind: str, seconds: float = UPLOAD_S
) -> AsyncIterator[mmap.mmap]:
    """The body of a request in a file, until the end of the block.

    Args:
        most: bytes of it.
        kind: what it should be, for whoever sent nothing.
        seconds: further ones that it may take to come in.

    Raises:
        ProblemError: 413 over `most`; at once when the header says so.
        InvalidInput: it is empty.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced[:20]) > most:
        raise too_large(most)
    if PATIENCE in request.scope:
        # A slow client is not a service that is stuck.
        request.scope[PATIENCE].seconds += seconds
    with tempfile.TemporaryFile(prefix="latentfarm-") as file:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large(most)
            file.write(piece)
        file.flush()
        if size == 0:
            raise InvalidInput("body", "is empty", kind)
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as body:
            yield body


def too_large(most: int) -> ProblemError:
    """413."""
    complaint = InvalidInput("body", "cannot be taken", f"at most {most} bytes")
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return ProblemError(status, "request_entity_too_large", str(complaint), errors=(complaint,))
