"""The stock pipelines in all three modes, called with what a user gave and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import numpy as np
import torch
from PIL import Image

from latentfarm.states import Stage
from tests.rig import stock_arguments, stock_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.spec import RenderSpec
    from tests.floor import Move
    from worker.engine.model import LoadedModel
    from worker.engine.order import Inputs

    Encode = Callable[[Any, RenderSpec], dict[str, Any]]

_CLASSES: dict[str, Any] = {
    "text": diffusers.StableDiffusionXLPipeline,
    "image": diffusers.StableDiffusionXLImg2ImgPipeline,
    "inpaint": diffusers.StableDiffusionXLInpaintPipeline,
}


def stock_picture(
    model: LoadedModel,
    given: RenderSpec,
    seed: int,
    inputs: Inputs | None,
    *,
    move: Move | None = None,
    encode: Encode | None = None,
) -> torch.Tensor:
    """What stock makes of a spec as the user sent it: `[height, width, 3]`, uint8.

    Args:
        given: not completed: what is absent is left to stock's own defaults.
        move: what is done to the first stage's initial latents.
        encode: makes the embeddings that a pipeline is given in place of prompts.
    """
    mode = "text" if inputs is None else "image" if inputs.mask is None else "inpaint"
    if given.refiner is not None and given.refiner.mode == "only":
        picture = _pictures(given, mode, inputs)["image"]
        return refined_by_stock(model, given, seed, picture, move=move, encode=encode)
    first = _pipeline(model, Stage.BASE, given, seed, mode)
    if move is not None:
        _move(first, move)
    common = stock_arguments(given)
    own = _some(given, "prompt_2", "negative_prompt_2", "strength", "padding_mask_crop")
    refiner = given.refiner
    ending: dict[str, Any] = {} if refiner is None else {"output_type": "latent"}
    if refiner is not None and refiner.mode == "ensemble":
        ending["denoising_end"] = refiner.high_noise_frac or 0.8
    result = first(
        **_told(first, {**common, **own}, given, encode),
        **_pictures(given, mode, inputs),
        **ending,
        generator=torch.Generator("cpu").manual_seed(seed),
    ).images
    if refiner is None:
        return torch.from_numpy(np.array(result[0]))
    pictures = _pictures(given, mode, inputs) if mode == "inpaint" else {}
    pictures.pop("image", None)
    return refined_by_stock(model, given, seed, result, encode=encode, **pictures)


def refined_by_stock(
    model: LoadedModel,
    given: RenderSpec,
    seed: int,
    image: Any,
    *,
    move: Move | None = None,
    encode: Encode | None = None,
    **pictures: Any,
) -> torch.Tensor:
    """The second call: stock's refiner on a picture, or on the latents that the first call left.

    Args:
        move: see `stock_picture`; so is `encode`.
        pictures: mask and sizes, which make it inpainting.
    """
    refiner = given.refiner
    assert refiner is not None
    mode = "inpaint" if "mask_image" in pictures else "image"
    second = _pipeline(model, Stage.REFINE, given, seed, mode)
    changed = _some(refiner, "guidance_scale", "aesthetic_score", "negative_aesthetic_score")
    if refiner.mode == "ensemble":
        changed["denoising_start"] = refiner.high_noise_frac or 0.8
    else:
        changed |= {"strength": refiner.strength or 0.3, **_some(refiner, "num_inference_steps")}
    if move is not None:
        _move(second, move)
    picture = second(
        **_told(second, {**stock_arguments(given), **changed, **pictures, "image": image}, given, encode),
        generator=torch.Generator("cpu").manual_seed(seed),
    ).images[0]
    return torch.from_numpy(np.array(picture))


def _told(
    pipeline: Any, arguments: dict[str, Any], given: RenderSpec, encode: Encode | None
) -> dict[str, Any]:
    if encode is None:
        return arguments
    rest = {name: value for name, value in arguments.items() if "prompt" not in name}
    return {**rest, **encode(pipeline, given)}


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


def _move(pipeline: Any, move: Move) -> None:
    prepare = pipeline.prepare_latents

    def moved(*positional: Any, **named: Any) -> Any:
        found = prepare(*positional, **named)
        return (move(found[0]), *found[1:]) if isinstance(found, tuple) else move(found)

    pipeline.prepare_latents = moved
