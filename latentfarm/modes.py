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


def mode_of(spec: RenderSpec) -> Mode:
    """The mode of a job: `mask_image` makes it inpainting, `image` alone image-to-image."""
    if spec.mask_image is not None:
        return Mode.INPAINT
    return Mode.TEXT if spec.image is None else Mode.IMAGE


def needs_inputs(spec: RenderSpec, stage: Stage) -> bool:
    """Whether a stage reads the job's pictures.

    The base always does where there are any; the refiner starts from the base's latents, but
    has to know where it may paint.
    """
    mode = mode_of(spec)
    return mode is not Mode.TEXT if stage is Stage.BASE else stage is Stage.REFINE and mode is Mode.INPAINT
