"""What the pixels of an image say about it without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from latentfarm.pixels import open_picture

UNIFORM_DEVIATION = 2.0
"""Levels of 255. What a lossy format does to one colour stays below 1; the palest fog is above 4."""
BLACK_LEVEL = 16
"""Of 255: black as video has it, and more than a lossy format lifts a black pixel to."""
DARK_SHARE = 0.001
"""Share of the samples of a channel that may be above black: specks, fewer than the stars of a night sky."""
_SIDE = 32
_LOWEST = 8
_SCALE = 2**12


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one image.

    Attributes:
        width: pixels of the file.
        height: pixels of the file.
        mean: of all channels, 0 to 255.
        deviation: standard deviation of the channel that varies most, 0 to 127.5.
        uniform: it shows nothing: one colour, but for what a lossy format does to it.
        dark: it is black, but for specks.
        sharpness: variance of the Laplacian of the luma; 0 for one colour, some 10,000 for noise.
        phash: 64 bits of what it looks like in grey, 0 to 2^64 - 1; None where it is uniform, which
            says nothing of what it looks like.
        colour: mean of its pixels, `0xRRGGBB`.
    """

    width: int
    height: int
    mean: float
    deviation: float
    uniform: bool
    dark: bool
    sharpness: float
    phash: int | None
    colour: int


def measure(image: bytes) -> Quality:
    """Measure an image file; the same bytes give the same measures, on every machine.

    Raises:
        InvalidInput: no PNG, WebP or JPEG.
    """
    picture = open_picture(image)
    counts = np.array(picture.histogram(), np.int64).reshape(3, 256)
    levels = np.arange(256)
    pixels = picture.width * picture.height
    means = counts @ levels / pixels
    # Sums of whole numbers: they are exact, so that no order of adding shows.
    variances = np.maximum(counts @ (levels * levels) / pixels - means**2, 0.0)
    deviation = float(np.sqrt(variances.max()))
    uniform = deviation < UNIFORM_DEVIATION
    luma = picture.convert("L")
    red, green, blue = (int(mean + 0.5) for mean in means)
    return Quality(
        width=picture.width,
        height=picture.height,
        mean=float(means.mean()),
        deviation=deviation,
        uniform=uniform,
        dark=bool((counts[:, BLACK_LEVEL + 1 :].sum(axis=1) <= DARK_SHARE * pixels).all()),
        sharpness=_sharpness(luma),
        phash=None if uniform else _phash(luma),
        colour=red << 16 | green << 8 | blue,
    )


def _sharpness(luma: Image.Image) -> float:
    """Variance of what a pixel differs by from its four neighbours; the border has too few of them."""
    if min(luma.size) < 3:
        return 0.0
    grey = np.asarray(luma, np.int16)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    flat = laplacian.astype(np.int32).ravel()
    total, squares = int(flat.sum(dtype=np.int64)), int((flat * flat).sum(dtype=np.int64))
    return squares / flat.size - (total / flat.size) ** 2


def _phash(luma: Image.Image) -> int:
    """Which of the 64 lowest frequencies are above their median, row by row, the highest bit first."""
    small = np.asarray(luma.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.int64)
    waves = _waves()
    # In whole numbers: a BLAS may round as it likes, and a bit near the median would turn.
    lowest = (waves @ small @ waves.T).ravel()
    bits = lowest > np.median(lowest)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _waves() -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """`[8, 32]`: the lowest waves of a discrete cosine transform (DCT-II), scaled to whole numbers."""
    angles = np.outer(np.arange(_LOWEST), 2 * np.arange(_SIDE) + 1) * np.pi / (2 * _SIDE)
    return np.round(np.cos(angles) * _SCALE).astype(np.int64)
