"""Pixels and provenance -> the bytes of an image file."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latentfarm.errors import SpecError
from latentfarm.previews import MAX_BYTES
from latentfarm.provenance import CHUNK, PARAMETERS, parameters_line, to_exif, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from latentfarm.spec import OutputSpec
    from worker.engine.order import Picture

MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
DEFAULT_QUALITY = {"webp": 90, "jpeg": 95}
_PREVIEW_QUALITIES = (80, 50, 20)
PNG: dict[str, int] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""Of a photograph's 1024x1024 pixels a seventh of the time of Pillow's default level, for a file a twelfth larger."""


def encode(picture: Picture, output: OutputSpec, provenance: Mapping[str, Any]) -> bytes:
    """The image file, with its provenance inside.

    Args:
        picture: `[height, width, 3]`, uint8.
        output: format, and the quality of WebP and JPEG.
        provenance: as `latentfarm.provenance.describe` makes it.

    Raises:
        SpecError: the format has no room for the provenance of so long a prompt.
    """
    image = Image.fromarray(np.asarray(picture.pixels))
    buffer = io.BytesIO()
    try:
        image.save(buffer, output.format, **_options(output, provenance))
    except ValueError as error:
        raise SpecError(f"output.format: {output.format} cannot hold this image: {error}") from error
    return buffer.getvalue()


def preview(pixels: torch.Tensor) -> bytes | None:
    """A small JPEG of `[height, width, 3]`, uint8; None if it cannot be made small enough."""
    image = Image.fromarray(np.asarray(pixels))
    for quality in _PREVIEW_QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "jpeg", quality=quality)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
    return None


def _options(output: OutputSpec, provenance: Mapping[str, Any]) -> dict[str, Any]:
    if output.format == "png":
        chunks = PngInfo()
        chunks.add_text(CHUNK, to_json(provenance))
        chunks.add_text(PARAMETERS, parameters_line(provenance))
        return {"pnginfo": chunks, **PNG}
    quality = output.quality or DEFAULT_QUALITY[output.format]
    options = {"quality": quality, "exif": to_exif(provenance)}
    return options | ({"subsampling": 0} if output.format == "jpeg" else {})
