"""The stock pipelines in all three modes, called with what a user gave and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import numpy as np
import torch
from PIL import Image, ImageDraw

from latentfarm.states import Stage
from tests.rig import stock_arguments, stock_pipeline

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Inputs

_CLASSES: dict[str, Any] = {
    "text": diffusers.StableDiffusionXLPipeline,
    "image": diffusers.StableDiffusionXLImg2ImgPipeline,
    "inpaint": diffusers.StableDiffusionXLInpaintPipeline,
}


def stock_picture(
    model: LoadedModel, given: RenderSpec, seed: int, inputs: Inputs | None, *, nudge: float = 0.0
) -> torch.Tensor:
    """What stock makes of a spec as the user sent it: `[height, width, 3]`, uint8.

    Args:
        given: not completed: what is absent is left to stock's own defaults.
        nudge: the first stage's initial latents are multiplied by 1 + this.
    """
    mode = "text" if inputs is None else "image" if inputs.mask is None else "inpaint"
    first = _pipeline(model, Stage.BASE, given, seed, mode)
    if nudge:
        _nudge(first, nudge)
    common = stock_arguments(given)
    own = _some(given, "prompt_2", "negative_prompt_2", "strength", "padding_mask_crop")
    refiner = given.refiner
    ending: dict[str, Any] = {} if refiner is None else {"output_type": "latent"}
    if refiner is not None and refiner.mode == "ensemble":
        ending["denoising_end"] = refiner.high_noise_frac or 0.8
    result = first(
        **common,
        **own,
        **_pictures(given, mode, inputs),
        **ending,
        generator=torch.Generator("cpu").manual_seed(seed),
    ).images
    if refiner is None:
        return torch.from_numpy(np.array(result[0]))
    second = _pipeline(model, Stage.REFINE, given, seed, "inpaint" if mode == "inpaint" else "image")
    changed = _some(refiner, "guidance_scale", "aesthetic_score", "negative_aesthetic_score")
    if refiner.mode == "ensemble":
        changed["denoising_start"] = refiner.high_noise_frac or 0.8
    else:
        changed |= {"strength": refiner.strength or 0.3, **_some(refiner, "num_inference_steps")}
    pictures = _pictures(given, mode, inputs) if mode == "inpaint" else {}
    image = second(
        **{**common, **changed, **pictures, "image": result},
        generator=torch.Generator("cpu").manual_seed(seed),
    ).images[0]
    return torch.from_numpy(np.array(image))


def _some(fields: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(fields, name) for name in names if getattr(fields, name) is not None}


def _pictures(given: RenderSpec, mode: str, inputs: Inputs | None) -> dict[str, Any]:
    """Pictures and sizes. Stock image-to-image has no sizes: its users resize the picture themselves."""
    if inputs is None:
        return _some(given, "height", "width")
    if mode == "image":
        size = (given.width or inputs.image.width, given.height or inputs.image.height)
        resized = (
            inputs.image if size == inputs.image.size else inputs.image.resize(size, Image.Resampling.LANCZOS)
        )
        return {"image": resized}
    return {"image": inputs.image, "mask_image": inputs.mask, **_some(given, "height", "width")}


def _pipeline(model: LoadedModel, stage: Stage, given: RenderSpec, seed: int, mode: str) -> Any:
    """As `from_pretrained` of the class would build it."""
    plain = stock_pipeline(model, stage, given, seed)
    settings = {"force_zeros_for_empty_prompt": stage is Stage.BASE, "add_watermarker": False}
    if mode != "text":
        settings["requires_aesthetics_score"] = stage is Stage.REFINE
    pipeline = _CLASSES[mode](**plain.components, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _nudge(pipeline: Any, nudge: float) -> None:
    prepare = pipeline.prepare_latents

    def moved(*positional: Any, **named: Any) -> Any:
        found = prepare(*positional, **named)
        if isinstance(found, tuple):
            return (found[0] * (1 + nudge), *found[1:])
        return found * (1 + nudge)

    pipeline.prepare_latents = moved


def drawn_picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """A small colourful picture: shapes on a gradient."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 255, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        left, top = (int(rng.integers(0, side - 8)) for side in (width, height))
        box = (left, top, left + int(rng.integers(6, 30)), top + int(rng.integers(6, 30)))
        draw.ellipse(box, fill=tuple(int(value) for value in rng.integers(0, 255, 3)))
    return image


def drawn_mask(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """White where to paint: a rectangle of a good part of the picture."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (width, height), 0)
    left, top = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
    box = (
        left,
        top,
        left + int(rng.integers(width // 4, width // 2)),
        top + int(rng.integers(height // 4, height // 2)),
    )
    ImageDraw.Draw(image).rectangle(box, fill=255)
    return image
