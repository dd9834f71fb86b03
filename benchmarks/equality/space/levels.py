"""Kinds of levels that several subjects have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Fields, Level

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star")


def fixed(**fields: object) -> Level:
    """A level of one value."""
    return Level(lambda _rng: dict(fields))


def between(field: str, low: float, high: float) -> Level:
    """A level that draws a number."""
    return Level(lambda rng: {field: round(rng.uniform(low, high), 3)})


def whole(field: str, low: int, high: int) -> Level:
    """A level that draws a whole number, both ends included."""
    return Level(lambda rng: {field: rng.randint(low, high)})


def text(field: str) -> dict[str, Level]:
    """Levels of a prompt that may be absent."""
    return {
        PLAIN: Level(),
        "empty": fixed(**{field: ""}),
        "said": Level(lambda rng: {field: caption(rng)}),
    }


def size(field: str, low: int, high: int) -> dict[str, Level]:
    """Levels of a field of two numbers."""

    def draw(least: int, most: int) -> Callable[[random.Random], Fields]:
        return lambda rng: {field: (rng.randint(least, most), rng.randint(least, most))}

    return {PLAIN: Level(), "small": Level(draw(low, 48)), "large": Level(draw(160, high))}


def caption(rng: random.Random) -> str:
    """A prompt of the tiny model's world."""
    size, colour, shape = rng.choice(["small", "large"]), rng.choice(COLOURS), rng.choice(SHAPES)
    return f"a {size} {colour} {shape} on the {rng.choice(['left', 'right'])}"
