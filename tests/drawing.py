"""Small picture files for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image


def picture(
    width: int = 64, height: int = 64, *, kind: str = "png", mode: str = "RGB", fill: Any = 0, **options: Any
) -> bytes:
    """A file of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height), fill).save(buffer, kind, **options)
    return buffer.getvalue()


def claimed_png(width: int, height: int, *, bits: int = 8, rows: bytes = b"") -> bytes:
    """A PNG that says it has so many pixels; `rows` is what it really holds, before compression."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )
