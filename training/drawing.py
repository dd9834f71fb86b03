"""Draw a scene with Pillow."""

import random
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from training.scene import Scene, Thing
from training.words import BACKGROUNDS, COLOURS, PLACES

_FINE: Final = 2  # drawn larger by this and shrunk, for smooth edges
# Half the object's width as a part of the picture's shorter side.
RADII: Final = {"small": (0.16, 0.18), "large": (0.22, 0.25)}
_WANDER: Final = 0.025  # how far an object strays from its place, as a part of each side
_HOLE: Final = 0.55  # an outline's hole as a part of the object
_PERIOD: Final = 0.125  # of stripes, as a part of the shorter side; dots stand a little wider
_LIGHT_INK, _DARK_INK = (240, 240, 240), (30, 30, 30)


@dataclass(frozen=True)
class Spot:
    """Where an object lies: middle and half width in pixels."""

    x: float
    y: float
    radius: float

    def moved(self, left: float, top: float) -> "Spot":
        """The same spot as seen through a window that starts at (left, top)."""
        return Spot(self.x - left, self.y - top, self.radius)


def choose_spot(thing: Thing, width: int, height: int, rng: random.Random) -> Spot:
    """A spot that fits the thing's place and size, strayed a little."""
    if thing.place is None or thing.size is None:
        raise ValueError("a thing to be drawn needs a place and a size")
    _, across, down = PLACES[thing.place]
    low, high = RADII[thing.size]
    return Spot(
        width * (across + rng.uniform(-_WANDER, _WANDER)),
        height * (down + rng.uniform(-_WANDER, _WANDER)),
        min(width, height) * rng.uniform(low, high),
    )


def draw(scene: Scene, spots: list[Spot], width: int, height: int) -> Image.Image:
    """The picture, RGB: each thing at its spot (main first), over a plain background."""
    if scene.background is None or scene.style is None:
        raise ValueError("a scene to be drawn needs a background and a style")
    ground = BACKGROUNDS[scene.background]
    canvas = Image.new("RGB", (width * _FINE, height * _FINE), ground)
    things = [scene.main] if scene.second is None else [scene.main, scene.second]
    unit = min(width, height) * _FINE
    for thing, spot in zip(things, spots, strict=True):
        if thing.colour is None:
            raise ValueError("a thing to be drawn needs a colour")
        fine = Spot(spot.x * _FINE, spot.y * _FINE, spot.radius * _FINE)
        fill = _filling(canvas.size, COLOURS[thing.colour], ground, scene.style, fine, unit)
        canvas.paste(fill, mask=silhouette(thing.shape, fine, canvas.size))
        if scene.style == "outline":
            hole = Spot(fine.x, fine.y + _sink(thing.shape, fine.radius), fine.radius * _HOLE)
            canvas.paste(ground, mask=silhouette(thing.shape, hole, canvas.size))
    return canvas.resize((width, height), Image.Resampling.BOX)


def silhouette(shape: str, spot: Spot, size: tuple[int, int]) -> Image.Image:
    """The shape as a mask of 0 and 255, mode L; `size` is (width, height)."""
    mask = Image.new("L", size, 0)
    pen = ImageDraw.Draw(mask)
    x, y, radius = spot.x, spot.y, spot.radius
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        pen.ellipse(box, fill=255)
    elif shape == "square":
        pen.rectangle(box, fill=255)
    elif shape == "triangle":
        pen.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=255)
    elif shape == "cross":
        arm = radius * 0.36
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=255)
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=255)
    else:
        raise ValueError(f"unknown shape {shape}")
    return mask


def _sink(shape: str, radius: float) -> float:
    """How far a hole is lowered so that a triangle's rim is as wide on all sides."""
    return radius * 0.14 if shape == "triangle" else 0.0


def _filling(
    size: tuple[int, int],
    colour: tuple[int, int, int],
    ground: tuple[int, int, int],
    style: str,
    spot: Spot,
    unit: int,
) -> Image.Image:
    """Colour with the style's ink over it, anchored to the object so that the pattern moves with it."""
    fill = Image.new("RGB", size, colour)
    pen = ImageDraw.Draw(fill)
    ink = _LIGHT_INK if sum(ground) < 200 else _DARK_INK
    reach = spot.radius
    if style == "striped":
        period = _PERIOD * unit
        y = spot.y - reach + period * 0.5
        while y < spot.y + reach:
            pen.rectangle((spot.x - reach, y, spot.x + reach, y + period * 0.5), fill=ink)
            y += period
    elif style == "dotted":
        period, dot = _PERIOD * unit * 1.15, _PERIOD * unit * 0.34
        for row in range(-4, 5):
            for column in range(-4, 5):
                x, y = spot.x + column * period, spot.y + row * period
                pen.ellipse((x - dot, y - dot, x + dot, y + dot), fill=ink)
    return fill
