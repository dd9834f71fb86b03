"""Whether bytes are a picture, asked of a child process with little memory and little time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from latentfarm.errors import InvalidInput
from latentfarm.logs import get_logger
from latentfarm.records import Shape
from latentfarm.references import MAX_INPUT_BYTES, MAX_INPUT_PIXELS

CHILD = Path(__file__).with_name("decoding_child.py")
MEMORY_BYTES = 1024 * 1024 * 1024
TIME_S = 10
ALLOWED = "a PNG, JPEG or WebP of at most 20 MiB and 16 megapixels"


def examine(field: str, data: bytes) -> Shape:
    """Format and size of a picture, upright as its EXIF says. Not decoded in this process.

    Raises:
        InvalidInput: no picture, too large, or it broke what looked at it; names the field.
    """
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidInput(field, "the file is too large", ALLOWED)
    numbers = (MEMORY_BYTES, TIME_S, MAX_INPUT_PIXELS)
    try:
        ended = subprocess.run(
            [sys.executable, "-I", str(CHILD), *map(str, numbers)],
            input=data,
            capture_output=True,
            timeout=TIME_S,
            env={},
            cwd="/",
            check=True,
        )
        found = json.loads(ended.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        get_logger().warning("decoder_broke", reason=_reason(error), size=len(data))
        raise InvalidInput(field, "the file cannot be decoded in bounded time and memory", ALLOWED) from error
    if "refused" in found:
        raise InvalidInput(field, found["refused"], ALLOWED)
    return Shape(format=found["format"], width=found["width"], height=found["height"])


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit status {error.returncode}"
    return type(error).__name__
