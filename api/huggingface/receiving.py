"""Requests as they come in: small ones are JSON; of large ones the picture stays in a file until it is looked at."""

from __future__ import annotations

import binascii
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from api.huggingface.requests import InferenceRequest
from api.limits import MAX_BODY, check_kind, checked, read_json
from api.spooling import spooled, too_large
from latentfarm import strict_json
from latentfarm.errors import InvalidInput
from latentfarm.references import MAX_INPUT_BYTES

if TYPE_CHECKING:
    import mmap
    from collections.abc import AsyncIterator

    from fastapi import Request

MAX_LARGE = MAX_INPUT_BYTES * 4 // 3 + 4 + MAX_BODY
"""Bytes of one request: a picture in base64, and as much beside it as the body of a job may have."""
_INPUTS = re.compile(rb'"inputs"\s*:\s*"([A-Za-z0-9+/]+={0,2})"')
_PIECE = 1 << 20
"""Characters that are decoded together; a multiple of four."""


class Encoded(Mapping[bytes, bytes]):
    """A picture in base64: as a mapping, its bytes by their SHA-256, decoded when they are asked for.

    Raises:
        InvalidInput: it is no base64.
    """

    def __init__(self, text: memoryview) -> None:
        self._text = text
        digest = hashlib.sha256()
        try:
            for at in range(0, len(self._text), _PIECE):
                digest.update(_decoded(self._text[at : at + _PIECE]))
        except InvalidInput:
            # Else the file that it lies in could not be closed.
            self.close()
            raise
        self.sha256 = digest.digest()

    def __getitem__(self, sha256: bytes) -> bytes:
        if sha256 != self.sha256:
            raise KeyError(sha256)
        return _decoded(self._text[:])

    def __iter__(self) -> Iterator[bytes]:
        return iter((self.sha256,))

    def __len__(self) -> int:
        return 1

    def close(self) -> None:
        """Lets go of the memory that the text is in."""
        self._text.release()


@dataclass(frozen=True, slots=True)
class Inference:
    """A request, and the picture that its `inputs` were where they are too large to be a prompt."""

    asked: InferenceRequest
    picture: Encoded | None = None


@asynccontextmanager
async def read_inference(request: Request) -> AsyncIterator[Inference]:
    """The request in a body, until the end of the block; refused as specs are.

    Raises:
        ProblemError: 413, 415 or 422, naming each field that is wrong.
        InvalidInput: the JSON cannot be taken, or a picture is no base64.
    """
    announced = request.headers.get("content-length", "")
    if not announced.isdecimal() or int(announced[:20]) <= MAX_BODY:
        yield Inference(checked(strict_json.loads(await read_json(request)), InferenceRequest))
        return
    check_kind(request)
    async with spooled(request, MAX_LARGE, kind="application/json") as body:
        found = await run_in_threadpool(_cut, body)
        try:
            yield found
        finally:
            if found.picture is not None:
                found.picture.close()


def _cut(body: mmap.mmap) -> Inference:
    """What is left when the picture is taken out is read as any request; whether it was in the right place, that tells."""
    found = _INPUTS.search(body)
    start, end = (0, 0) if found is None else found.span(1)
    if len(body) - (end - start) > MAX_BODY:
        raise too_large(MAX_BODY)
    mark = secrets.token_hex(16)
    asked = checked(strict_json.loads(body[:start] + mark.encode() + body[end:]), InferenceRequest)
    if asked.inputs != mark:
        raise too_large(MAX_BODY)
    return Inference(asked, Encoded(memoryview(body)[start:end]))


def _decoded(text: memoryview) -> bytes:
    try:
        with text:
            return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise InvalidInput("inputs", f"not base64: {error}", "a PNG, JPEG or WebP in base64") from error
