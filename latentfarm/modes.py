"""What a job starts from: noise, a picture, or a picture and a mask."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from latentfarm.states import Stage

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec


class Mode(StrEnum):
    """Each is one of diffusers' three pipelines; the fields of a spec decide which."""

    TEXT = "text"
    IMAGE = "image"
    INPAINT = "inpaint"


GUIDANCE = {Mode.TEXT: 5.0, Mode.IMAGE: 5.0, Mode.INPAINT: 7.5}
"""`guidance_scale` when absent, as each of the three pipelines has it."""
STRENGTH = {Mode.IMAGE: 0.3, Mode.INPAINT: 0.9999}
"""`strength` when absent. Not quite 1 for inpainting: the first latents then still hold the picture."""


def mode_of(spec: RenderSpec) -> Mode:
    """The mode of a job: `mask_image` makes it inpainting, `image` alone image-to-image."""
    if spec.mask_image is not None:
        return Mode.INPAINT
    return Mode.TEXT if spec.image is None else Mode.IMAGE


def first_stage(spec: RenderSpec) -> Stage:
    """Where a render of this spec begins: with the base, unless the refiner works alone."""
    return Stage.REFINE if spec.refiner is not None and spec.refiner.mode == "only" else Stage.BASE


def needs_inputs(spec: RenderSpec, stage: Stage) -> bool:
    """Whether a stage reads the job's pictures.

    The first one always does where there are any; a refiner that starts from the base's latents
    only has to know where it may paint.
    """
    mode = mode_of(spec)
    if stage is first_stage(spec):
        return mode is not Mode.TEXT
    return stage is Stage.REFINE and mode is Mode.INPAINT


def guidance_of(spec: RenderSpec) -> float:
    """Guidance of the base stage."""
    return GUIDANCE[mode_of(spec)] if spec.guidance_scale is None else spec.guidance_scale


def strength_of(spec: RenderSpec) -> float:
    """Share of the schedule that a picture is changed by; 1 where there is none."""
    return STRENGTH.get(mode_of(spec), 1.0) if spec.strength is None else spec.strength
