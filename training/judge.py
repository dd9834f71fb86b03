"""Say what a picture of the drawn world shows, by plain pixel analysis.

Things are coloured, ground and ink are not: that is all the judge knows beside the words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from training.drawing import Spot, silhouette
from training.scene import Scene, Thing
from training.words import BACKGROUNDS, COLOURS, PLACES, SHAPES

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
_COLOURED: Final = 60  # of 255, between the strongest and the weakest channel
_DIFFERENT: Final = 55  # of 255, from the ground in some channel
_LEAST_AREA: Final = 0.004  # of the picture; less is a speck
_LARGE: Final = 0.2  # half width as a part of the shorter side, from here on
_TEMPLATE: Final = 32


@dataclass(frozen=True)
class SeenThing:
    """One thing as seen, with its spot in pixels."""

    shape: str
    colour: str
    size: str
    place: str
    spot: Spot


@dataclass(frozen=True)
class Seen:
    """Things by falling extent (the first is the main one), ground and the main thing's style."""

    things: tuple[SeenThing, ...]
    background: str
    style: str | None

    @property
    def main(self) -> SeenThing | None:
        """The largest thing, if there is any."""
        return self.things[0] if self.things else None


def look(image: Image.Image) -> Seen:
    """What the picture shows; pictures of at least 64 pixels."""
    pixels = np.asarray(image.convert("RGB"), np.float32)
    ground = ground_colour(pixels)
    described = [(_describe(pixels, mask), mask) for mask in thing_masks(pixels, ground)]
    described.sort(key=lambda pair: -pair[0].spot.radius)
    things = tuple(thing for thing, _ in described)
    style = _style(pixels, described[0][1], ground) if described else None
    return Seen(things, _nearest(ground, BACKGROUNDS), style)


def confirms(seen: Seen, scene: Scene) -> dict[str, bool]:
    """For each fact that the scene tells about its main thing: is it so in the picture?"""
    thing: Any = seen.main
    told = {name: getattr(scene.main, name) for name in ("shape", "colour", "size", "place")}
    facts = {
        name: thing is not None and getattr(thing, name) == value for name, value in told.items() if value
    }
    if scene.background is not None:
        facts["background"] = seen.background == scene.background
    if scene.style is not None:
        facts["style"] = seen.style == scene.style
    return facts


def redrawn(seen: Seen) -> tuple[Scene, list[Spot]] | None:
    """The scene that was seen and its things' spots: what `drawing.draw` needs for the ideal picture."""
    if seen.main is None:
        return None
    things = [Thing(thing.shape, thing.colour, thing.size, thing.place) for thing in seen.things[:2]]
    second = things[1] if len(things) > 1 else None
    scene = Scene(things[0], second, seen.background, seen.style or "filled")
    return scene, [thing.spot for thing in seen.things[:2]]


def ground_colour(pixels: Pixels) -> Pixels:
    """The median colour along the picture's rim."""
    rim = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), *pixels[:, [0, -1]]])
    return np.asarray(np.median(rim, axis=0), np.float32)


def coloured(pixels: Pixels) -> Mask:
    """Pixels that are neither ground nor ink."""
    return np.asarray(np.ptp(pixels, axis=2) > _COLOURED)


def thing_masks(pixels: Pixels, ground: Pixels) -> list[Mask]:
    """Filled masks, one for each connected region that holds colour."""
    differs = np.abs(pixels - ground).max(axis=2) > _DIFFERENT
    labels, count = ndimage.label(ndimage.binary_opening(differs, np.ones((3, 3))))
    least = _LEAST_AREA * differs.size
    hue = coloured(pixels)
    masks = [ndimage.binary_fill_holes(labels == number) for number in range(1, count + 1)]
    return [mask for mask in masks if (mask & hue).sum() > least]


def _describe(pixels: Pixels, mask: Mask) -> SeenThing:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    radius = max(bottom - top, right - left) / 2
    spot = Spot((left + right) / 2, (top + bottom) / 2, float(radius))
    colour = np.median(pixels[mask & coloured(pixels)], axis=0)
    return SeenThing(
        shape=_shape(mask[top:bottom, left:right]),
        colour=_nearest(colour, COLOURS),
        size="large" if radius / min(width, height) >= _LARGE else "small",
        place=_place(spot.x / width, spot.y / height),
        spot=spot,
    )


def _shape(mask: Mask) -> str:
    """The shape whose template overlaps the mask best, both stretched to one size."""
    stretched = Image.fromarray(mask.astype(np.uint8) * 255).resize((_TEMPLATE, _TEMPLATE))
    seen = np.asarray(stretched) > 127
    middle = Spot((_TEMPLATE - 1) / 2, (_TEMPLATE - 1) / 2, _TEMPLATE / 2)
    overlaps = {}
    for shape in SHAPES:
        ideal = np.asarray(silhouette(shape, middle, (_TEMPLATE, _TEMPLATE))) > 127
        overlaps[shape] = (seen & ideal).sum() / (seen | ideal).sum()
    return max(overlaps, key=lambda shape: overlaps[shape])


def _place(across: float, down: float) -> str:
    return min(PLACES, key=lambda name: (PLACES[name][1] - across) ** 2 + (PLACES[name][2] - down) ** 2)


def _style(pixels: Pixels, mask: Mask, ground: Pixels) -> str:
    """Holes of ground make an outline; rows full of ink stripes; other ink dots."""
    hole = mask & (np.abs(pixels - ground).max(axis=2) < _DIFFERENT)
    ink = mask & ~coloured(pixels) & ~hole
    if hole.sum() > 0.12 * mask.sum():
        return "outline"
    if ink.sum() < 0.12 * mask.sum():
        return "filled"
    width = mask.sum(axis=1)
    rows = width >= 0.3 * width.max()
    shares = np.sort(ink.sum(axis=1)[rows] / width[rows])
    return "striped" if shares[-max(1, len(shares) // 5) :].mean() > 0.75 else "dotted"


def _nearest(colour: Sequence[float] | Pixels, names: dict[str, tuple[int, int, int]]) -> str:
    return min(names, key=lambda name: float(np.square(np.subtract(colour, names[name])).sum()))
