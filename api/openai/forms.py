"""Multipart forms with pictures in them: to a file as they come, and read from there.

A picture is in memory only while it is looked at, so that many who upload at once cost disk and not memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from api.problems import ProblemError
from api.spooling import UPLOAD_S, spooled
from latentfarm.errors import InvalidInput
from latentfarm.references import MAX_INPUT_BYTES

if TYPE_CHECKING:
    import mmap
    from collections.abc import AsyncIterator

    from fastapi import Request

MAX_FORM = 2 * MAX_INPUT_BYTES + 1_048_576
"""Bytes of one form: two pictures, and as much beside them as the body of a job may have."""
_PIECE = 1 << 20
_MAX_HEAD = 4_096
_MAX_PARTS = 100
_MAX_TEXT = 65_536
_KIND = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: bytes `start` to `end` of it. `filename`: None for a part that is no file."""

    name: str
    filename: str | None
    start: int
    end: int

    @property
    def file(self) -> bool:
        """Whether it came with a file's name."""
        return self.filename is not None


class Form(Mapping[bytes, bytes]):
    """The parts of a form; as a mapping, the contents of its files by SHA-256, read when they are asked for."""

    def __init__(self, body: mmap.mmap, parts: list[Part]) -> None:
        self._body = body
        self.parts = parts
        self._files: dict[bytes, Part] = {}
        self._made: dict[bytes, bytes] = {}

    def text(self, part: Part) -> str:
        """What a part says.

        Raises:
            InvalidInput: too long, or not UTF-8.
        """
        if part.end - part.start > _MAX_TEXT:
            raise InvalidInput(part.name[:64], "too long", f"at most {_MAX_TEXT} bytes")
        try:
            return self.content(part).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(part.name[:64], "not UTF-8", "text in UTF-8") from error

    def content(self, part: Part) -> bytes:
        """The bytes of a part."""
        return self._body[part.start : part.end]

    def copy(self, part: Part, into: BinaryIO) -> bytes:
        """Writes the bytes of a part to a file, and returns their SHA-256; a piece at a time is in memory."""
        digest = hashlib.sha256()
        for at in range(part.start, part.end, _PIECE):
            piece = self._body[at : min(part.end, at + _PIECE)]
            digest.update(piece)
            into.write(piece)
        return digest.digest()

    def digest(self, part: Part) -> bytes:
        """SHA-256 of a file, by which it is found from now on."""
        with memoryview(self._body) as whole, whole[part.start : part.end] as view:
            sha256 = hashlib.sha256(view).digest()
        self._files[sha256] = part
        return sha256

    def add(self, data: bytes) -> bytes:
        """SHA-256 of a file that was made of one in the form, by which it is found from now on."""
        sha256 = hashlib.sha256(data).digest()
        self._made[sha256] = data
        return sha256

    def __getitem__(self, sha256: bytes) -> bytes:
        made = self._made.get(sha256)
        return self.content(self._files[sha256]) if made is None else made

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._files.keys() | self._made.keys())

    def __len__(self) -> int:
        return len(self._files.keys() | self._made.keys())


@asynccontextmanager
async def read_form(
    request: Request, most: int | None = None, seconds: float = UPLOAD_S
) -> AsyncIterator[Form]:
    """The form in a request's body, until the end of the block.

    Args:
        most: bytes of it; `MAX_FORM` when absent.
        seconds: further ones that it may take to come in.

    Raises:
        ProblemError: 413 over `most` (at once when the header says so), 415 for another content type.
        InvalidInput: it is no form.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    most = MAX_FORM if most is None else most
    async with spooled(request, most, kind=_KIND, seconds=seconds) as body:
        yield Form(body, list(_parts(body, b"--" + boundary)))


def _boundary(content_type: str) -> bytes:
    head = Message()
    head["content-type"] = content_type
    if head.get_content_type() != _KIND:
        complaint = InvalidInput("Content-Type", "cannot be taken", _KIND)
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        raise ProblemError(status, "unsupported_media_type", str(complaint), errors=(complaint,))
    try:
        boundary = head.get_boundary() or ""
    except ValueError:  # encoded, as no client does it
        boundary = ""
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise InvalidInput("Content-Type", "names no usable boundary", f"{_KIND}; boundary=...")
    return boundary.encode()


def _parts(body: mmap.mmap, delimiter: bytes) -> Iterator[Part]:
    """Those of the form, one after the other; what stands before the first delimiter is no part."""
    at = 0 if body[: len(delimiter)] == delimiter else body.find(b"\r\n" + delimiter) + 2
    if at == 1:
        raise InvalidInput("body", "the boundary of the form is not in it", _KIND)
    for _ in range(_MAX_PARTS):
        at += len(delimiter)
        if body[at : at + 2] == b"--":
            return
        start = body.find(b"\r\n", at, at + _MAX_HEAD)
        stop = body.find(b"\r\n\r\n", start, start + _MAX_HEAD) if start >= 0 else -1
        end = body.find(b"\r\n" + delimiter, stop + 4) if stop >= 0 else -1
        if end < 0:
            raise InvalidInput("body", "the form is cut short, or a part of it has no head", _KIND)
        yield _part(body[start + 2 : stop + 2].decode("utf-8", "replace"), stop + 4, end)
        at = end + 2
    raise InvalidInput("body", "has too many parts", f"at most {_MAX_PARTS}")


def _part(head: str, start: int, end: int) -> Part:
    fields = HeaderParser().parsestr(head)
    name = fields.get_param("name", header="content-disposition")
    if not isinstance(name, str) or not name:
        raise InvalidInput(
            "body", "a part of the form has no name", 'Content-Disposition: form-data; name="..."'
        )
    filename = fields.get_param("filename", header="content-disposition")
    return Part(name, None if filename is None else collapse_rfc2231_value(filename), start, end)
