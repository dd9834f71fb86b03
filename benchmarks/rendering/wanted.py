"""The images that both arms paint."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

FRACTION = 0.8
"""Of the schedule, which the base takes: `denoising_end` of the base, `denoising_start` of the refiner."""
SIDE = 128
_SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "unipc")
_STEPS = (12, 16, 20, 28)
_GUIDANCE = (3.0, 5.0, 7.5, 9.0)
_NEGATIVES = (None, "blurred", "a small black cross")
_PARTS = (
    ("small", "large"),
    ("red", "green", "blue", "yellow", "purple", "cyan"),
    ("circle", "square", "triangle", "cross"),
    ("on the left", "on the right", "at the top", "at the bottom", "in the middle"),
    ("white", "grey", "black"),
    ("filled", "outline", "striped", "dotted"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image: what diffusers takes, by its own names.

    Attributes:
        sampler: as the farm calls it.
    """

    prompt: str
    negative_prompt: str | None
    steps: int
    guidance: float
    sampler: str
    seed: int

    def spec(self, lane: str) -> dict[str, Any]:
        """As the farm is asked for it."""
        return {
            "model": "tiny",
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "sampler": self.sampler,
            "seed": self.seed,
            "width": SIDE,
            "height": SIDE,
            "refiner": {"mode": "ensemble", "high_noise_frac": FRACTION},
            "lane": lane,
        }


def mixed(count: int, seed: int = 0) -> list[Wanted]:
    """Images that share nothing but their size: prompts, steps, samplers and guidance are drawn."""
    rng = random.Random(seed)
    return [
        Wanted(
            _prompt(rng),
            rng.choice(_NEGATIVES),
            rng.choice(_STEPS),
            rng.choice(_GUIDANCE),
            rng.choice(_SAMPLERS),
            number,
        )
        for number in range(count)
    ]


def uniform(count: int, seed: int = 0) -> list[Wanted]:
    """Images of one shape and one setting; prompts and seeds differ."""
    rng = random.Random(seed)
    return [Wanted(_prompt(rng), None, 20, 5.0, "euler", number) for number in range(count)]


def _prompt(rng: random.Random) -> str:
    size, colour, shape, place, ground, style = (rng.choice(words) for words in _PARTS)
    return f"a {size} {colour} {shape} {place}, {ground} background, {style} style"
