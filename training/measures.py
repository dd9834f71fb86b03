"""How good a picture is, in numbers: nearness to the drawn ideal, sharpness, noise."""

import math
from typing import Final

import numpy as np
from PIL import Image
from scipy import ndimage

from training.drawing import Spot, draw
from training.judge import ground_colour, look, redrawn, thing_masks

_NUDGES: Final = (-1.5, -0.75, 0.0, 0.75, 1.5)  # pixels


def distance_to_ideal(image: Image.Image) -> float:
    """Root mean square of 255 to the nearest drawing of what the judge sees; NaN where it sees nothing."""
    drawn = redrawn(look(image))
    if drawn is None:
        return math.nan
    scene, spots = drawn
    pixels = np.asarray(image, np.float32)

    def distance(tried: list[Spot]) -> float:
        ideal = np.asarray(draw(scene, tried, image.width, image.height), np.float32)
        return float(np.sqrt(np.square(pixels - ideal).mean()))

    best = distance(spots)
    for field in ("x", "y", "radius"):
        trials = [[_nudged(spots[0], field, nudge), *spots[1:]] for nudge in _NUDGES]
        spots = min(trials, key=distance)
        best = min(best, distance(spots))
    return best


def sharpness(image: Image.Image) -> float:
    """The steepest change between neighbours (99th percentile) as a part of the picture's contrast."""
    pixels = np.asarray(image, np.float32)
    contrast = float(np.percentile(np.abs(pixels - ground_colour(pixels)).max(axis=2), 98))
    across = np.abs(np.diff(pixels, axis=1)).max(axis=2)
    down = np.abs(np.diff(pixels, axis=0)).max(axis=2)
    return float(np.percentile(np.concatenate([across.ravel(), down.ravel()]), 99)) / max(contrast, 1.0)


def edge_noise(image: Image.Image) -> float:
    """Mean distance of 255 from the plain ground in a ring around the things (3 to 8 pixels away)."""
    pixels = np.asarray(image, np.float32)
    ground = ground_colour(pixels)
    difference = np.abs(pixels - ground).max(axis=2)
    masks = thing_masks(pixels, ground)
    if not masks:
        return math.nan
    things = np.logical_or.reduce(masks)
    ring = ndimage.binary_dilation(things, iterations=8) & ~ndimage.binary_dilation(things, iterations=3)
    return float(difference[ring].mean()) if ring.any() else math.nan


def _nudged(spot: Spot, field: str, by: float) -> Spot:
    return Spot(**{**vars(spot), field: getattr(spot, field) + by})
