"""Images of a dataset that are rendered again with another seed, because a check found them wanting.

Image i of a run has the seed `(run seed + i) mod 2^53`, its k-th further one is 2^48 k above that, mod 2^53. A run has
fewer than 2^40 images and k is at most 3: two seeds of one run differ by less than 2^40 from a multiple j of 2^48 with
|j| <= 3, and 3 * 2^48 + 2^40 is below 2^53 - 3 * 2^48 - 2^40. So they are equal only where image and k are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.spec import SEED_RANGE

if TYPE_CHECKING:
    from uuid import UUID

SEED_STEP = 2**48
"""Between two seeds of one image."""
MOST_REDRAWS = 3
"""Further seeds of one image; what is wanting still is kept, and marked `exhausted`."""


@dataclass(frozen=True, slots=True)
class Wanting:
    """An image that is to be rendered again.

    Attributes:
        reasons: what a check found: `dark`, `uniform`, `non_finite`, `duplicate`.
    """

    render_id: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Redraw:
    """A shard that is not packed yet, since images of it are to be rendered again.

    Attributes:
        render_id: of stage seal, whose claim is given back.
        fence: of that claim.
    """

    render_id: int
    fence: int
    shard_id: int
    dataset_id: UUID
    images: tuple[Wanting, ...]


def next_seed(seed: int) -> int:
    """The seed that follows one of an image."""
    return (seed + SEED_STEP) % SEED_RANGE
