"""Inpainting: where the sampler may paint, what stays, and putting the result back into the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from latentfarm.errors import SpecError

if TYPE_CHECKING:
    from PIL.Image import Image

    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Inputs


@dataclass(slots=True)
class Painting:
    """What inpainting adds to a sample. All on the device, in the model's precision.

    Attributes:
        mask: `[1, 1, height / 8, width / 8]`, 1 where to paint.
        noise: `[1, 4, height / 8, width / 8]`, the first noise, which the kept area is given again.
        kept: latents of the picture, blended in after each step; None for UNets of 9 channels.
        seen: latents of the picture without its masked area, which UNets of 9 channels are shown.
    """

    mask: torch.Tensor
    noise: torch.Tensor
    kept: torch.Tensor | None
    seen: torch.Tensor | None

    def widen(self, scaled: torch.Tensor) -> torch.Tensor:
        """The UNet's input: `[1, 4, ...]` -> `[1, 9, ...]` where it wants that, else unchanged."""
        return scaled if self.seen is None else torch.cat([scaled, self.mask, self.seen], dim=1)

    def blend(self, sampler: Any, after: torch.Tensor | None, latents: torch.Tensor) -> torch.Tensor:
        """Puts the picture back where nothing may be painted.

        Args:
            after: the next timestep, 0-dimensional; None after the last step.
            latents: as the sampler left them.
        """
        if self.kept is None:
            return latents
        kept = self.kept
        if after is not None:
            kept = sampler.add_noise(kept, self.noise, torch.tensor([after]))
        return (1 - self.mask) * kept + self.mask * latents


class Overlay(NamedTuple):
    """The picture that a finished crop is put back into.

    Attributes:
        crop: left, top, right and bottom, in pixels of the picture.
    """

    image: Image
    mask: Image
    crop: tuple[int, int, int, int]

    def apply(self, pipe: Any, painted: Image) -> np.ndarray[Any, Any]:
        """`[height, width, 3]`, uint8, of the whole picture's size."""
        whole = pipe.image_processor.apply_overlay(self.mask, self.image, painted, self.crop)
        return np.asarray(whole)


def paint(
    pipe: Any,
    spec: RenderSpec,
    inputs: Inputs,
    model: LoadedModel,
    generator: torch.Generator,
    first: torch.Tensor,
    *,
    pure_noise: bool,
    add_noise: bool = True,
    latents: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Painting, Overlay | None]:
    """First latents, mask and picture of an inpainting job, drawn in stock's order.

    Args:
        first: the first timestep, `[1]`.
        pure_noise: the latents start from noise alone, which stock does at a strength of exactly 1.
        latents: to start from in place of the picture, `[1, 4, height / 8, width / 8]`.

    Raises:
        SpecError: a mask that leaves nothing to crop to.
    """
    place = (spec.height, spec.width, model.dtype, model.device, generator)
    crop = _crop(pipe, spec, inputs)
    image, mask = _preprocessed(pipe, spec, inputs, crop)
    masked = image * (mask < 0.5) if latents is None else None
    blending = pipe.unet.config.in_channels == 4
    begun, noise, *kept = pipe.prepare_latents(
        1,
        pipe.vae.config.latent_channels,
        *place,
        image=image if latents is None else latents,
        timestep=first,
        is_strength_max=pure_noise,
        add_noise=add_noise,
        return_noise=True,
        return_image_latents=blending,
    )
    if masked is not None and blending:
        _draw_as_if_encoded(pipe, noise, generator)
        masked = None
    mask, seen = pipe.prepare_mask_latents(mask, masked, 1, *place, do_classifier_free_guidance=False)
    overlay = Overlay(inputs.image, inputs.mask, crop) if crop and inputs.mask else None
    return begun, Painting(mask, noise, kept[0] if kept else None, seen), overlay


def _preprocessed(
    pipe: Any, spec: RenderSpec, inputs: Inputs, crop: tuple[int, int, int, int] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture, `[1, 3, height, width]`, -1 to 1, and the mask, `[1, 1, height, width]`, 0 or 1."""
    how = {
        "height": spec.height,
        "width": spec.width,
        "resize_mode": "fill" if crop else "default",
        "crops_coords": crop,
    }
    image = pipe.image_processor.preprocess(inputs.image, **how)
    return image.float(), pipe.mask_processor.preprocess(inputs.mask, **how)


def _crop(pipe: Any, spec: RenderSpec, inputs: Inputs) -> tuple[int, int, int, int] | None:
    if spec.padding_mask_crop is None or inputs.mask is None:
        return None
    if inputs.mask.convert("L").getbbox() is None:
        raise SpecError("mask_image is black all over: padding_mask_crop has nothing to crop to")
    left, top, right, bottom = pipe.mask_processor.get_crop_region(
        inputs.mask, spec.width, spec.height, pad=spec.padding_mask_crop
    )
    return left, top, right, bottom


def _draw_as_if_encoded(pipe: Any, noise: torch.Tensor, generator: torch.Generator) -> None:
    """Stock encodes the masked picture here also where the UNet is never shown it.

    What remains of that is one draw from the generator, which the samplers that draw feel.
    """
    dtype = torch.float32 if pipe.vae.config.force_upcast else noise.dtype
    torch.randn(noise.shape, generator=generator, dtype=dtype)
