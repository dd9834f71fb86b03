"""Which fields belong to which mode, what they are when absent, and what the pictures must be like."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.facts import facts_of
from latentfarm.modes import Mode, first_stage, guidance_of, mode_of, strength_of
from latentfarm.states import Stage

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RefinerSpec, RenderSpec

PixelSize = tuple[int, int]
"""`(height, width)`."""


def fill_mode(spec: RenderSpec, entry: ModelEntry) -> RenderSpec:
    """Fills in what a mode decides; the size of an image-to-image job only if the spec has it."""
    mode, (height, width) = mode_of(spec), entry.native_size
    guidance = guidance_of(spec)
    filled: dict[str, object] = {
        "guidance_scale": guidance,
        "refiner": _fill_refiner(spec.refiner, spec.num_inference_steps, guidance) if spec.refiner else None,
    }
    if mode is not Mode.TEXT and first_stage(spec) is Stage.BASE:
        filled["strength"] = strength_of(spec)
    if mode is not Mode.IMAGE:
        # Stock inpainting too takes the model's size, whatever the picture's is.
        filled |= {"height": spec.height or height, "width": spec.width or width}
    return spec.model_copy(update=filled)


def _fill_refiner(refiner: RefinerSpec, steps: int, guidance: float) -> RefinerSpec:
    own = {"high_noise_frac": refiner.split} if refiner.split is not None else {"strength": refiner.reworked}
    return refiner.model_copy(
        update={
            "num_inference_steps": refiner.num_inference_steps or steps,
            "guidance_scale": guidance if refiner.guidance_scale is None else refiner.guidance_scale,
            **own,
        }
    )


def check_mode(spec: RenderSpec, entry: ModelEntry) -> None:
    """Checks that the fields of a spec belong to its mode.

    Args:
        spec: as the user sent it, or filled in.

    Raises:
        InvalidInput: names the field and what is allowed.
    """
    for field, needed in (
        ("mask_image", "image"),
        ("strength", "image"),
        ("padding_mask_crop", "mask_image"),
    ):
        if getattr(spec, field) is not None and getattr(spec, needed) is None:
            raise InvalidInput(field, f"has no meaning without {needed}", f"with {needed}")
    if spec.padding_mask_crop is not None and spec.refiner is not None:
        raise InvalidInput(
            "padding_mask_crop",
            "the crop is put back into the picture, so there are no latents to refine",
            "without a refiner",
        )
    if first_stage(spec) is Stage.REFINE:
        _check_without_base(spec)
    elif facts_of(entry).unet_channels == 9 and mode_of(spec) is not Mode.INPAINT:
        raise InvalidInput(
            "mask_image", f"model {entry.name} paints into pictures only", "image and mask_image"
        )
    if spec.refiner is not None:
        _check_refiner_fields(spec, spec.refiner)


def _check_without_base(spec: RenderSpec) -> None:
    """A refiner alone is image-to-image, and nothing else."""
    if spec.image is None:
        raise InvalidInput("image", "refiner mode `only` starts from a picture", "a picture")
    if spec.mask_image is not None:
        raise InvalidInput("mask_image", "refiner mode `only` repaints the whole picture", "leave it out")
    if spec.strength is not None:
        raise InvalidInput("strength", "refiner mode `only` has no base stage", "refiner.strength")


def _check_refiner_fields(spec: RenderSpec, refiner: RefinerSpec) -> None:
    other = {"ensemble": ("strength", "image"), "image": ("high_noise_frac", "ensemble")}
    field, owner = other.get(refiner.mode, other["image"])
    if getattr(refiner, field) is not None:
        raise InvalidInput(f"refiner.{field}", f"belongs to mode `{owner}`", "leave it out")
    steps, own = spec.num_inference_steps, refiner.num_inference_steps
    if own is None or own == steps:
        return
    if refiner.mode == "ensemble":
        raise InvalidInput(
            "refiner.num_inference_steps",
            "both stages of an ensemble share one schedule",
            f"{steps}, as num_inference_steps",
        )
    if spec.timesteps is not None or spec.sigmas is not None:
        field = "sigmas" if spec.timesteps is None else "timesteps"
        raise InvalidInput("refiner.num_inference_steps", f"{field} are the schedule of both stages", "none")


def fit_pictures(
    spec: RenderSpec,
    entry: ModelEntry,
    image: PixelSize,
    mask: PixelSize | None = None,
    *,
    scale: bool = False,
) -> RenderSpec:
    """A complete spec with the size that its pictures decide.

    Args:
        spec: complete but for the size of an image-to-image job: stock renders in the picture's,
            rounded down to whole latents.
        image: upright size of the picture.
        mask: of the mask.
        scale: a picture that the model cannot render in the size of is scaled, not refused.

    Raises:
        InvalidInput: the mask is not of the image's size, or the model cannot render in that size.
    """
    if mask is not None and mask != image:
        raise InvalidInput("mask_image", f"is {_text(mask)}, the image is {_text(image)}", _text(image))
    if spec.height is not None and spec.width is not None:
        return spec
    own = scaled_size(image, entry) if scale else _whole(image)
    height, width = spec.height or own[0], spec.width or own[1]
    if not all(entry.min_size <= side <= entry.max_size for side in (height, width)):
        raise InvalidInput(
            "image",
            f"{_text((height, width))} pixels do not fit model {entry.name}",
            f"{entry.min_size} to {entry.max_size} either side, or width and height of the result",
        )
    return spec.model_copy(update={"height": height, "width": width})


def scaled_size(picture: PixelSize, entry: ModelEntry) -> PixelSize:
    """The size in which a model renders from a picture: the picture's own, where the model can.

    Else in the picture's proportions and with as many pixels as the model's own size, where it is at its best; a
    side that is beyond the model's limits even so is at the limit.
    """
    # An entry may have limits that no size of whole latents meets.
    low, high = -(-entry.min_size // 8) * 8, entry.max_size - entry.max_size % 8
    if all(low <= side <= high for side in _whole(picture)):
        return _whole(picture)
    factor = math.sqrt(math.prod(entry.native_size) / math.prod(picture))
    height, width = (8 * round(min(max(side * factor, low), high) / 8) for side in picture)
    return height, width


def _whole(picture: PixelSize) -> PixelSize:
    return picture[0] - picture[0] % 8, picture[1] - picture[1] % 8


def _text(size: PixelSize) -> str:
    return f"{size[1]}x{size[0]}"
