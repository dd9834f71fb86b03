"""Whether bytes are a picture, asked of a child process with little memory and little time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.logs import get_logger
from latentfarm.records import Shape
from latentfarm.references import MAX_INPUT_BYTES, MAX_INPUT_PIXELS

CHILD = Path(__file__).with_name("decoding_child.py")
MEMORY_BYTES = 1024 * 1024 * 1024
TIME_S = 10
TURN_S = 1.0
ALLOWED = "a PNG, JPEG or WebP of at most 20 MiB and 16 megapixels"
_masks = threading.BoundedSemaphore(4)
"""Children of one process that make masks together: each may take `MEMORY_BYTES`."""


def examine(field: str, data: bytes) -> Shape:
    """Format and size of a picture, upright as its EXIF says. Not decoded in this process.

    Raises:
        InvalidInput: no picture, too large, or it broke what looked at it; names the field.
    """
    return _shape(_look(field, data))


def mask_from_alpha(field: str, data: bytes) -> tuple[bytes, Shape]:
    """The mask of a picture that is fully transparent where it is to be painted.

    Returns:
        A PNG, white where to paint and black elsewhere; and the shape of `data`. The same for the same bytes.

    Raises:
        InvalidInput: as `examine`; or the picture has no alpha channel, or is transparent nowhere.
        ServiceUnavailable: too many others are at it.
    """
    if not _masks.acquire(timeout=TURN_S):
        raise ServiceUnavailable("too many masks are being looked at")
    try:
        found = _look(field, data, "mask")
    finally:
        _masks.release()
    return base64.b64decode(found["mask"]), _shape(found)


def _shape(found: dict[str, Any]) -> Shape:
    return Shape(format=found["format"], width=found["width"], height=found["height"])


def _look(field: str, data: bytes, *wanted: str) -> dict[str, Any]:
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidInput(field, "the file is too large", ALLOWED)
    numbers = (MEMORY_BYTES, TIME_S, MAX_INPUT_PIXELS)
    try:
        ended = subprocess.run(
            [sys.executable, "-I", str(CHILD), *map(str, numbers), *wanted],
            input=data,
            capture_output=True,
            timeout=TIME_S,
            env={},
            cwd="/",
            check=True,
        )
        found: dict[str, Any] = json.loads(ended.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        get_logger().warning("decoder_broke", reason=_reason(error), size=len(data))
        raise InvalidInput(field, "the file cannot be decoded in bounded time and memory", ALLOWED) from error
    if "refused" in found:
        raise InvalidInput(field, found["refused"], ALLOWED)
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit status {error.returncode}"
    return type(error).__name__
