"""Pictures and masks, drawn from a seed, as the files that users have; and what stock reads from those."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from tests.drawing import drawn_mask, drawn_picture
from worker.engine.order import Inputs

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec

FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("RGB", "png", {}),
    "grey": ("L", "png", {}),
    "transparent": ("RGBA", "png", {}),
    "palette": ("P", "png", {}),
    "jpeg": ("RGB", "jpeg", {"quality": 90}),
    "turned": ("RGB", "jpeg", {"quality": 95}),
    "webp": ("RGB", "webp", {"lossless": True}),
}
"""Mode, format, options of a file; `turned` lies on its side, and its EXIF says so."""
_KEPT = 64
"""Of a set's many variants nearly all have its pictures."""
MASKS = ("rectangle", "everything", "soft", "scattered")


@lru_cache(_KEPT)
def picture_url(seed: int, size: tuple[int, int], form: str = "png") -> str:
    """A colourful picture as a data URL.

    Args:
        size: width and height, upright.
        form: a key of `FORMS`.
    """
    mode, kind, options = FORMS[form]
    image = drawn_picture(seed, *size)
    if mode == "RGBA":
        image.putalpha(drawn_picture(seed + 1, *size).convert("L"))
    elif form == "turned":
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown turned clockwise
        options = {**options, "exif": exif}
    return _url(image.convert(mode), kind, options)


@lru_cache(_KEPT)
def mask_url(seed: int, size: tuple[int, int], kind: str = "rectangle") -> str:
    """White where to paint, as a data URL; see `MASKS`."""
    if kind == "everything":
        mask = Image.new("L", size, 255)
    elif kind == "scattered":
        spots = np.random.default_rng(seed).integers(0, 2, (5, 5), dtype=np.uint8)
        spots[seed % 5, seed // 5 % 5] = 1
        mask = Image.fromarray(255 * spots).resize(size, Image.Resampling.NEAREST)
    else:
        mask = drawn_mask(seed, *size)
        mask = mask.filter(ImageFilter.GaussianBlur(4)) if kind == "soft" else mask
    return _url(mask, "png", {})


def file_of(url: str) -> bytes:
    """The file in a data URL."""
    return base64.b64decode(url.partition(",")[2])


def inputs_of(given: RenderSpec) -> Inputs | None:
    """The pictures of a spec as diffusers' own loader opens them."""
    from diffusers.utils.loading_utils import load_image

    def opened(url: str) -> Image.Image:
        image: Image.Image = load_image(Image.open(io.BytesIO(file_of(url))))
        return image

    if given.image is None:
        return None
    return Inputs(opened(given.image), opened(given.mask_image) if given.mask_image else None)


def upright_size(url: str) -> tuple[int, int]:
    """Height and width of the picture in a data URL, as its EXIF says it is to be seen."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file_of(url))))
    return image.height, image.width


def _url(image: Image.Image, kind: str, options: dict[str, Any]) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
