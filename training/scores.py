"""The judge's scores of the pair on fresh prompts."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from training.judge import confirms, look
from training.picture import plan_scene, render
from training.scene import Scene, caption, random_scene


@dataclass(frozen=True)
class Exam:
    """Prompts that training never saw with their seeds, and the scenes that they tell of."""

    scenes: list[Scene]
    prompts: list[str]
    seeds: list[int]


def set_exam(count: int, seed: int = 2026) -> Exam:
    """`count` prompts that tell everything about a scene, each with a picture seed of its own."""
    rng = random.Random(f"exam {seed}")
    scenes = [random_scene(rng) for _ in range(count)]
    return Exam(scenes, [caption(scene) for scene in scenes], [rng.getrandbits(31) for _ in scenes])


def mark(images: Sequence[Image.Image], scenes: Sequence[Scene]) -> dict[str, float]:
    """Shares of pictures, 0 to 1, on which the judge confirms each fact of the main object.

    `main` is colour and shape together, `all` every fact that the scene tells.
    """
    counts: Counter[str] = Counter()
    for image, scene in zip(images, scenes, strict=True):
        facts = confirms(look(image), scene)
        facts |= {"main": facts["colour"] and facts["shape"], "all": all(facts.values())}
        counts.update({fact: int(true) for fact, true in facts.items()})
    return {fact: round(count / len(images), 4) for fact, count in sorted(counts.items())}


def judge_accuracy(count: int = 400) -> dict[str, float]:
    """The judge's own scores on pictures that were drawn, not generated."""
    rng = random.Random("judge")
    scenes = [random_scene(rng) for _ in range(count)]
    return mark([render(plan_scene(scene, rng)) for scene in scenes], scenes)
