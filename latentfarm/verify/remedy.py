"""Where a render must begin again whose image is lost: a decision, and no action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.modes import first_stage, needs_inputs
from latentfarm.states import Stage

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec


def stage_to_repeat(spec: RenderSpec, *, latents: bool, refined: bool, inputs: bool) -> Stage | str:
    """The first stage that is needed, or why nothing helps.

    Args:
        latents: whether what the refiner starts from is there and good.
        refined: whether these are another job's latents, so that there is no base stage to repeat.
        inputs: whether all pictures that the spec names are there and good.
    """
    stage = first_stage(spec)
    if stage is Stage.BASE and spec.refiner is not None and latents:
        stage = Stage.REFINE
    elif stage is Stage.BASE and refined:
        return "the latents that it was refined from are gone"
    if needs_inputs(spec, stage) and not inputs:
        return "a picture that it starts from is gone"
    return stage
