"""What is submitted in a run, when, and what users do then; drawn from the seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.profile import Profile

STEPS = 12
"""Of each stage: 12 without the refiner, 24 with it."""
STEP_MS = (5, 5, 5, 20, 60)
"""Most steps take 5 ms as in the protocol; some are slow, so that faults find renders in flight."""
MOST_IMAGES = 8
CANCEL_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Submission:
    """One POST and what goes with it.

    Attributes:
        at_s: seconds after the start of the window.
        cancel_after_s: seconds after its answer at which the user takes it back; None: never.
        twice: it is sent a second time, with the same key, at the same moment.
    """

    key: str
    at_s: float
    body: dict[str, Any]
    poison: str | None = None
    cancel_after_s: float | None = None
    twice: bool = False

    @property
    def images(self) -> int:
        """How many renders it asks for."""
        return int(self.body["num_images"])

    def as_line(self) -> dict[str, Any]:
        """For the truth log."""
        return asdict(self)


def draw(seed: int, profile: Profile) -> list[Submission]:
    """All submissions of a run, in the order of their times; exactly `profile.renders` images."""
    rng = Random(f"{seed}/load")
    found: list[Submission] = []
    left = profile.renders
    for number in range(max(1, round(profile.renders * profile.poison)) if profile.poison else 0):
        poison = profile.poison_kinds[(number + seed) % len(profile.poison_kinds)]
        at_s = rng.uniform(0.0, profile.poison_within) * profile.window_s
        found.append(_submission(rng, seed, len(found), at_s, images=1, poison=poison))
        left -= 1
    while left > 0:
        images = min(left, rng.randint(1, MOST_IMAGES))
        at_s = rng.uniform(0.0, 1.0) * profile.window_s
        cancelled = rng.random() < profile.cancelled
        twice = rng.random() < profile.twice
        found.append(
            _submission(rng, seed, len(found), at_s, images=images, cancelled=cancelled, twice=twice)
        )
        left -= images
    return sorted(found, key=lambda item: item.at_s)


def _submission(
    rng: Random,
    seed: int,
    number: int,
    at_s: float,
    *,
    images: int,
    poison: str | None = None,
    cancelled: bool = False,
    twice: bool = False,
) -> Submission:
    words = f"sleep {rng.choice(STEP_MS)}" + (f" {poison}" if poison else "")
    body = {
        "model": "tiny",
        "prompt": words,
        "width": 64,
        "height": 64,
        "num_images": images,
        "num_inference_steps": STEPS,
        "seed": rng.randrange(2**40),
        "lane": rng.choice(["interactive", "bulk", "bulk"]),
        "refiner": rng.choice([None, {"mode": "ensemble"}]),
    }
    cancel_after_s = rng.uniform(0.0, CANCEL_WITHIN_S) if cancelled else None
    return Submission(f"chaos-{seed}-{number}", at_s, body, poison, cancel_after_s, twice)
