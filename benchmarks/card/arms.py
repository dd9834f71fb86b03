"""Three ways to make the same pictures on one card; each call gives images per second."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from tests.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Picture

ENCODERS = 4
"""Threads, as many as a worker has."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every arm makes: `images` pictures of one spec, with the seeds 0, 1, ..."""

    spec: RenderSpec
    images: int

    def arguments(self) -> dict[str, Any]:
        """Of a stock pipeline's call."""
        spec = self.spec
        return {
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "height": spec.height,
            "width": spec.width,
        }


def stock(pipeline: Any, work: Work, batch: int) -> float:
    """The pipeline's own call, `batch` pictures at a time; each is encoded and the next call waits for it."""
    started = time.perf_counter()
    for first in range(0, work.images, batch):
        seeds = range(first, min(first + batch, work.images))
        found = pipeline(
            prompt=[work.spec.prompt] * len(seeds),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            **work.arguments(),
        )
        for image in found.images:
            check(np.asarray(image))
            image.save(io.BytesIO(), "png")
    return work.images / (time.perf_counter() - started)


def engine(model: LoadedModel, work: Work) -> float:
    """All pictures handed in at once; they are encoded beside the render thread, at the farm's level."""
    with Rig(model) as rig, ThreadPoolExecutor(ENCODERS) as encoders:
        started = time.perf_counter()
        orders = [rig.submit(work.spec, seed) for seed in range(work.images)]
        done = [encoders.submit(_encode, rig.picture(order)) for order in orders]
        for one in done:
            one.result()
        return work.images / (time.perf_counter() - started)


def pixels_of(model: LoadedModel, works: Sequence[tuple[RenderSpec, int]]) -> list[torch.Tensor]:
    """Pictures of specs and seeds that are in the engine together, each `[height, width, 3]`, uint8."""
    with Rig(model) as rig:
        return [picture.pixels for picture in rig.pictures(works)]


def check(pixels: Any) -> None:
    """Weights that blow up, or give one colour, would flatter every arm: a card is faster at zeros and NaN.

    Raises:
        RuntimeError: the picture is of one colour.
    """
    if int(pixels.max()) - int(pixels.min()) < 8:
        raise RuntimeError("a picture of one colour: the activations are not those of a model")


def _encode(picture: Picture) -> None:
    pixels = np.asarray(picture.pixels)
    check(pixels)
    Image.fromarray(pixels).save(io.BytesIO(), "png", compress_level=1)
