"""Scenes of the drawn world, and what a caption says about them."""

import random
from dataclasses import dataclass, replace
from typing import Final

from training.words import BACKGROUNDS, COLOURS, PLACES, SHAPES, STYLES

# Two objects stand opposite each other and never touch.
_OPPOSITE: Final = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


@dataclass(frozen=True)
class Thing:
    """One object. None: the caption leaves it open."""

    shape: str
    colour: str | None
    size: str | None
    place: str | None


@dataclass(frozen=True)
class Scene:
    """What a picture shows: a main object, perhaps a small second one, a background and a style."""

    main: Thing
    second: Thing | None
    background: str | None
    style: str | None


def random_scene(rng: random.Random, pair_share: float = 0.25) -> Scene:
    """A scene with nothing left open. Of two objects the main one is large, the other small."""
    place = rng.choice(list(PLACES))
    paired = place in _OPPOSITE and rng.random() < pair_share
    size = "large" if paired else rng.choice(("small", "large"))
    main = Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), size, place)
    second = None
    if paired:
        colour = rng.choice([name for name in COLOURS if name != main.colour])
        second = Thing(rng.choice(SHAPES), colour, "small", _OPPOSITE[place])
    return Scene(main, second, rng.choice(list(BACKGROUNDS)), rng.choice(STYLES))


def leave_open(scene: Scene, rng: random.Random) -> Scene:
    """The same scene with some facts unsaid, so that a seed decides them when a prompt does."""
    main = replace(
        scene.main,
        colour=None if rng.random() < 0.1 else scene.main.colour,
        size=None if rng.random() < 0.15 else scene.main.size,
        place=None if rng.random() < 0.1 and scene.second is None else scene.main.place,
    )
    return replace(scene, main=main, background=None if rng.random() < 0.2 else scene.background)


def caption(scene: Scene, *, with_style: bool = True) -> str:
    """The sentence for a scene, such as `a large red circle on the left, white background`."""
    parts = [_phrase(scene.main)]
    if scene.second is not None:
        parts[0] += f" and {_phrase(scene.second)}"
    if scene.background is not None:
        parts.append(f"{scene.background} background")
    if with_style and scene.style is not None:
        parts.append(style_caption(scene))
    return ", ".join(parts)


def style_caption(scene: Scene) -> str:
    """What the second prompt says: `striped style`, or nothing."""
    return "" if scene.style is None else f"{scene.style} style"


def _phrase(thing: Thing) -> str:
    words = ["a", thing.size, thing.colour, thing.shape]
    if thing.place is not None:
        words.append(PLACES[thing.place][0])
    return " ".join(word for word in words if word)
