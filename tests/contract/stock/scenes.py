"""What pictures are asked to show, and whether they do."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from latentfarm.pixels import open_picture
from training.judge import confirms, look
from training.scene import Scene, Thing

if TYPE_CHECKING:
    from PIL import Image

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "blue", "green", "yellow")


def scene(number: int) -> Scene:
    """The number-th of twelve scenes with one large thing."""
    thing = Thing(SHAPES[number % 3], COLOURS[number // 3 % 4], "large", "middle")
    return Scene(thing, None, "white", "filled")


def shows(data: bytes, wanted: Scene) -> dict[str, bool]:
    """For each fact that a scene tells: is it so in a file's picture?"""
    return confirms(look(open_picture(data)), wanted)


def png(image: Image.Image) -> bytes:
    """A picture as a client sends it."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
