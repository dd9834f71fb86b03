"""Contact sheets: pictures in rows, each over its label."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

BORDER = 8
LINE = 15
MOST_LINES = 4
MAX_PIXELS = 2**28
_CHAR = 6.4
"""Pixels of an ordinary letter of Pillow's own font."""

Labelled = tuple[Image.Image, str]


def contact_sheet(
    pictures: Sequence[Labelled], *, columns: int | None = None, side: int = 256
) -> Image.Image:
    """All pictures, row by row, in tiles of one size.

    Args:
        pictures: each with the text below it.
        columns: pictures in a row; as square as can be when absent.
        side: pixels of the longer side of a picture. Smaller ones grow by whole factors, and stay sharp.

    Raises:
        InvalidInput: none, or too many for one sheet.
    """
    if not pictures:
        raise InvalidInput("files", "there is no picture to show")
    across = columns or math.ceil(math.sqrt(len(pictures)))
    tiles = [_tile(_fitted(picture, side), label) for picture, label in pictures]
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    size = (min(across, len(tiles)) * width, math.ceil(len(tiles) / across) * height)
    if size[0] * size[1] > MAX_PIXELS:
        raise InvalidInput("files", f"{len(tiles)} pictures are too many for one sheet", "a smaller --side")
    sheet = Image.new("RGB", size, "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % across * width, index // across * height))
    return sheet


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    longer = max(picture.size)
    if longer > side:
        return ImageOps.contain(picture, (side, side))
    factor = side // longer
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _tile(picture: Image.Image, label: str) -> Image.Image:
    framed = ImageOps.expand(picture.convert("RGB"), BORDER, "white")
    lines = textwrap.wrap(label, max(8, int(picture.width / _CHAR)), max_lines=MOST_LINES, placeholder=" ...")
    tile = Image.new("RGB", (framed.width, framed.height + LINE * MOST_LINES), "white")
    tile.paste(framed, (0, 0))
    ImageDraw.Draw(tile).multiline_text((BORDER, framed.height), "\n".join(lines), fill="black")
    return tile
