"""The rival: stock diffusers, base and refiner, as someone who knows it would loop over a list of images."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import diffusers
import torch

from benchmarks.rendering.wanted import FRACTION, SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from benchmarks.rendering.wanted import Wanted

_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "ddim": ("DDIMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


class Stock:
    """Two pipelines in one process.

    Args:
        model: a folder with `base` and `refiner` in it.
        threads: of torch.
        folder: for the PNG files.
    """

    def __init__(self, model: Path, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)
        self._folder = folder
        self._base = diffusers.StableDiffusionXLPipeline.from_pretrained(model / "base")
        self._refiner = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(model / "refiner")
        for pipeline in (self._base, self._refiner):
            pipeline.set_progress_bar_config(disable=True)
        self._samplers = {
            name: getattr(diffusers, cls).from_config(self._base.scheduler.config, **settings)
            for name, (cls, settings) in _SAMPLERS.items()
        }

    def one_by_one(self, images: Sequence[Wanted]) -> None:
        """Each image by itself, with its own sampler; saved as Pillow saves a PNG when nobody says how."""
        for wanted in images:
            self._paint([wanted])[0].save(self._folder / f"{wanted.seed}.png")

    def by_hand(self, images: Sequence[Wanted], batch: int, png: Mapping[str, Any]) -> None:
        """Images that share steps, guidance and sampler, so many in each call.

        Args:
            png: how the files are compressed.
        """
        for start in range(0, len(images), batch):
            several = images[start : start + batch]
            for wanted, image in zip(several, self._paint(several), strict=True):
                image.save(self._folder / f"{wanted.seed}.png", **png)

    def _paint(self, several: Sequence[Wanted]) -> list[Image.Image]:
        first = several[0]
        negatives = None if first.negative_prompt is None else [one.negative_prompt for one in several]
        shared = {
            "prompt": [one.prompt for one in several],
            "negative_prompt": negatives,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance,
        }
        latents = self._call(
            self._base,
            several,
            width=SIDE,
            height=SIDE,
            denoising_end=FRACTION,
            output_type="latent",
            **shared,
        )
        return list(self._call(self._refiner, several, image=latents, denoising_start=FRACTION, **shared))

    def _call(self, pipeline: Any, several: Sequence[Wanted], **arguments: Any) -> Any:
        pipeline.scheduler = copy.copy(self._samplers[several[0].sampler])
        generators = [torch.Generator("cpu").manual_seed(one.seed) for one in several]
        return pipeline(**arguments, generator=generators).images
