"""What a job counts against the quotas of its tenant. The unit of cost is defined here, and nowhere else.

**A unit is a megapixel-step**: 1,000,000 pixels of an image times one evaluation of a UNet, of the base or of the refiner. It
is what a quote tells as `megapixel_steps`. An image of 1024x1024 in 30 steps is 31.5 units.

The refiner's steps count, since they are evaluations like any other. Guidance does not: what it adds depends on the scale, the
step and the batch, and a user could not tell the cost of a job from its parameters any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.stages import evaluations_of, megapixel_steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec

PIXEL_BYTES = 3
"""Of an image without any compression; no PNG has more, but for what is said in `TEXT_BYTES`."""
TEXT_BYTES = 65_536
"""Most that a file has besides its pixels: how it was made, and what the format adds."""
LARGEST_PICTURE = 16_000_000
"""Pixels of a picture that a crop may be put back into."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for.

    Attributes:
        units: of cost.
        size: bytes that its images take at most.
    """

    units: float = 0.0
    size: int = 0

    def times(self, count: int) -> Ask:
        """The same for so many."""
        return Ask(self.units * count, self.size * count)


def ask_of(spec: RenderSpec, entry: ModelEntry) -> Ask:
    """What a job counts; the spec is complete."""
    return Ask(megapixel_steps_of(spec, entry), _most_bytes(spec)).times(spec.num_images)


def ask_of_refined(spec: RenderSpec, entry: ModelEntry) -> Ask:
    """What a job of kind refine counts: the base's steps were counted with the job that took them."""
    counts = evaluations_of(spec, entry)
    steps = counts[1] if counts is not None else spec.num_inference_steps
    units = (spec.height or 0) * (spec.width or 0) / 1_000_000 * steps
    return Ask(units, _most_bytes(spec)).times(spec.num_images)


def ask_of_sample(report: Mapping[str, Any]) -> Ask:
    """What an image of a dataset counts: the mean of its images, by what the first pass found."""
    images = max(1, report["images"])
    # A manifest that an earlier release has checked does not tell the pixels.
    pixels = 1_000_000 * report.get("megapixels", 0.0) / images
    return Ask(report["megapixel_steps"] / images, round(PIXEL_BYTES * pixels) + TEXT_BYTES)


def _most_bytes(spec: RenderSpec) -> int:
    whole = (spec.height or 0) * (spec.width or 0)
    pixels = whole if spec.padding_mask_crop is None else LARGEST_PICTURE
    return PIXEL_BYTES * pixels + TEXT_BYTES
