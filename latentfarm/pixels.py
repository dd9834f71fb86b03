"""Two image files, compared by what they show."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, UnidentifiedImageError

from latentfarm.errors import InvalidInput

FORMATS = ("PNG", "WEBP", "JPEG")


def open_picture(data: bytes) -> Image.Image:
    """The pixels of an image file, RGB.

    Raises:
        InvalidInput: no PNG, WebP or JPEG.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput("file", f"not a readable image: {error}", "PNG, WebP or JPEG") from error


def largest_difference(left: Image.Image, right: Image.Image) -> int:
    """Over all channels of two RGB pictures of one size: 0, bit-equal, to 255.

    Raises:
        InvalidInput: they have not the same size.
    """
    if left.size != right.size:
        raise InvalidInput("file", f"{left.width}x{left.height} and {right.width}x{right.height} pixels")
    extremes = ImageChops.difference(left, right).getextrema()
    return max(int(high) for _, high in extremes)  # type: ignore[misc]  # a pair for each of three channels
