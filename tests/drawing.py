"""Small pictures, and picture files, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


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


def drawn_picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """A small colourful picture: shapes on a gradient."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 255, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        left, top = (int(rng.integers(0, side - 8)) for side in (width, height))
        box = (left, top, left + int(rng.integers(6, 30)), top + int(rng.integers(6, 30)))
        draw.ellipse(box, fill=tuple(int(value) for value in rng.integers(0, 255, 3)))
    return image


def drawn_mask(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """White where to paint: a rectangle of a good part of the picture."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (width, height), 0)
    left, top = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
    box = (
        left,
        top,
        left + int(rng.integers(width // 4, width // 2)),
        top + int(rng.integers(height // 4, height // 2)),
    )
    ImageDraw.Draw(image).rectangle(box, fill=255)
    return image
