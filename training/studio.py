"""Stock diffusers pipelines over the tiny pair, many pictures per call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from torch import Tensor

SPLIT: Final = 0.8  # where the refiner takes over
_TOGETHER: Final = 25  # pictures in one pipeline call


@dataclass(frozen=True)
class Studio:
    """The pair's pipelines; `img2img` and `inpaint` are the base UNet's."""

    base: Any
    refiner: Any
    img2img: Any
    inpaint: Any

    def pictures(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = 20,
        guidance: float = 5.0,
        **more: Any,
    ) -> list[Image.Image]:
        """Base to 80 % and the refiner for the rest: one picture per prompt and seed."""
        latents = self.latents(prompts, seeds, steps=steps, guidance=guidance, **more)
        return self.refined(prompts, seeds, latents, steps=steps, guidance=guidance)

    def latents(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = 20,
        guidance: float = 5.0,
        **more: Any,
    ) -> Tensor:
        """Noisy latents `[n, 4, h, w]` of the base at the split."""
        more = {"denoising_end": SPLIT, "output_type": "latent"} | more
        found = _in_groups(self.base, prompts, seeds, steps, guidance, **more)
        return torch.cat(found)

    def base_alone(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = 20,
        guidance: float = 5.0,
        **more: Any,
    ) -> list[Image.Image]:
        """All steps by the base."""
        return [
            image
            for group in _in_groups(self.base, prompts, seeds, steps, guidance, **more)
            for image in group
        ]

    def refined(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        latents: Tensor,
        *,
        steps: int = 20,
        guidance: float = 5.0,
        **more: Any,
    ) -> list[Image.Image]:
        """The refiner's steps on the base's latents."""
        more = {"denoising_start": SPLIT} | more
        groups = _in_groups(self.refiner, prompts, seeds, steps, guidance, image=latents, **more)
        return [image for group in groups for image in group]

    def with_refiners(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        refiners: Sequence[Mapping[str, float]],
        *,
        steps: int = 20,
    ) -> list[list[Image.Image]]:
        """Base and refiner, the base once for all of the refiner's arguments."""
        latents = self.latents(prompts, seeds, steps=steps)
        return [self.refined(prompts, seeds, latents, steps=steps, **own) for own in refiners]

    def from_pictures(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = 20,
        image: list[Image.Image],
        strength: float,
        mask_image: Image.Image | None = None,
    ) -> list[Image.Image]:
        """Pictures by `img2img`, or with a mask by `inpaint`."""
        more: dict[str, Any] = {"image": image, "strength": strength}
        if mask_image is not None:
            more["mask_image"] = mask_image
        pipeline = self.img2img if mask_image is None else self.inpaint
        groups = _in_groups(pipeline, prompts, seeds, steps, 5.0, **more)
        return [image for group in groups for image in group]


def open_studio(folder: Path) -> Studio:
    """Load both pipelines from `folder`. Raises OSError when a file is missing."""
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "add_watermarker": False}
    base = StableDiffusionXLPipeline.from_pretrained(folder / "base", **options)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(folder / "refiner", **options)
    # `from_pipe` shares the modules.
    img2img = StableDiffusionXLImg2ImgPipeline.from_pipe(base)
    inpaint = StableDiffusionXLInpaintPipeline.from_pipe(base)
    for pipeline in (base, refiner, img2img, inpaint):
        pipeline.set_progress_bar_config(disable=True)
    return Studio(base, refiner, img2img, inpaint)


def _in_groups(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, **more: Any
) -> list[Any]:
    found = []
    for first in range(0, len(prompts), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[part]]
        # A list or tensor as long as the prompts holds one value per picture.
        options = {
            name: value[part] if isinstance(value, list | Tensor) and len(value) == len(prompts) else value
            for name, value in more.items()
        }
        result = pipeline(
            prompt=list(prompts[part]),
            generator=generators,
            num_inference_steps=steps,
            guidance_scale=guidance,
            **options,
        )
        found.append(result.images)
    return found
