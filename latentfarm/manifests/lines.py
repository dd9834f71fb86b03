"""Bytes in chunks -> lines of text, with their numbers; never more than one line and one chunk in memory."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE_BYTES = 256 * 1024
_LONG = f"up to {MAX_LINE_BYTES // 1024} KiB"
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `error` says why it has no text."""

    number: int
    text: str = ""
    error: ManifestError | None = None


def read_lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a file, which end with LF or CR LF.

    Raises:
        ManifestError: the file begins with a byte order mark, so it is not what our readers take.
    """
    for number, raw in enumerate(_split(chunks), start=1):
        if number == 1:
            _check_mark(raw or b"")
        yield _decoded(number, raw)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Raw lines; None in place of one that is too long, whose bytes are let go as they come."""
    held, too_long = b"", False
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            yield None if too_long else _measured(held + piece)
            held, too_long = b"", False
        held += rest
        if len(held) > MAX_LINE_BYTES + 1:  # one more for a CR
            held, too_long = held[:8], True
    if held:
        yield None if too_long else _measured(held)


def _measured(raw: bytes) -> bytes | None:
    line = raw.removesuffix(b"\r")
    return line if len(line) <= MAX_LINE_BYTES else None


def _check_mark(start: bytes) -> None:
    for mark, name in _MARKS:
        if start.startswith(mark):
            raise ManifestError(
                "manifest", f"begins with a byte order mark of {name}", "UTF-8 without", line=1
            )


def _decoded(number: int, raw: bytes | None) -> Line:
    if raw is None:
        return Line(number, error=ManifestError("row", "the line is too long", _LONG, line=number))
    try:
        return Line(number, raw.decode())
    except UnicodeDecodeError as error:
        place = f"not UTF-8 at byte {error.start + 1} of the line"
        return Line(number, error=ManifestError("row", place, "UTF-8", line=number))
