"""Looks at one picture in a process that can be spared: bytes on stdin, one JSON object on stdout.

Run by path and without the farm's packages, so that what breaks Pillow finds nothing else here.
Exit 0: `{"format", "width", "height"}`, with `mask` too where one is wanted (a PNG in base64), or
`{"refused": "why"}`. Anything else: it broke.
"""

from __future__ import annotations

import base64
import io
import json
import resource
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

FORMATS = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp"}


def limit(memory_bytes: int, cpu_s: int) -> None:
    """From here on: so much memory and time, no file written, none opened beyond those that Python needs."""
    limits = [
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ]
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))


class Refused(Exception):  # noqa: N818 - an answer
    """Why the bytes are not taken, for the user."""


def look(data: bytes, max_pixels: int, *, want_mask: bool = False) -> dict[str, object]:
    """Opens, measures, and only then decodes, as a worker will."""
    import warnings

    from PIL import Image, UnidentifiedImageError

    # Lowered, never lifted; a picture of more pixels is then an error, not a warning.
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        return decode(data, max_pixels, want_mask=want_mask)
    except Refused as refused:
        why = str(refused)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        why = "it has too many pixels"
    except UnidentifiedImageError:
        why = "it is no PNG, JPEG or WebP"
    except MemoryError:
        why = "decoding it takes too much memory"
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes Pillow raise
        why = f"it cannot be decoded: {type(error).__name__}"
    return {"refused": why}


def decode(data: bytes, max_pixels: int, *, want_mask: bool) -> dict[str, object]:
    """Format and upright size, and what is to be painted."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise Refused(f"{width}x{height} pixels are too many")
        # The second picture in an MPO is a telephone's depth map or preview: the first is what one sees.
        if image.format != "MPO" and getattr(image, "n_frames", 1) != 1:
            raise Refused("it is an animation")
        kind = FORMATS[image.format or ""]
        upright = ImageOps.exif_transpose(image)
        shape: dict[str, object] = {"format": kind, "width": upright.width, "height": upright.height}
        if want_mask:
            return shape | {"mask": mask_of(upright)}
        upright.convert("RGB")
    return shape


def mask_of(image: Image.Image) -> str:
    """White where the picture is fully transparent, black elsewhere: a PNG, in base64."""
    if not image.has_transparency_data:
        raise Refused("it has no alpha channel")
    alpha = image.convert("RGBA").getchannel("A")
    mask = alpha.point([255] + [0] * 255)
    if mask.getbbox() is None:
        raise Refused("no pixel of it is fully transparent: there is nothing to edit")
    file = io.BytesIO()
    mask.save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Arguments: bytes of memory, seconds of CPU, most pixels, and `mask` where one is wanted."""
    memory_bytes, cpu_s, max_pixels = map(int, sys.argv[1:4])
    limit(memory_bytes, cpu_s)
    found = look(sys.stdin.buffer.read(), max_pixels, want_mask="mask" in sys.argv[4:])
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
