"""Defaults and limits of a model's entry: few-step models work in a narrow range only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.samplers import SAMPLERS

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec


def with_defaults(spec: RenderSpec, entry: ModelEntry) -> RenderSpec:
    """Fills in what the entry decides and the user left open: sampler, spacing, steps, guidance.

    Raises:
        InvalidInput: more steps or guidance than the model is made for.
    """
    sampler = spec.sampler or entry.sampler
    row = SAMPLERS.get(sampler)
    filled: dict[str, object] = {"sampler": sampler}
    own_schedule = spec.timesteps is not None or spec.sigmas is not None
    if entry.steps is not None and "num_inference_steps" not in spec.model_fields_set and not own_schedule:
        filled["num_inference_steps"] = entry.steps
    if spec.guidance_scale is None and entry.guidance_scale is not None:
        filled["guidance_scale"] = entry.guidance_scale
    takes_spacing = row is not None and row.spacing is not None and not own_schedule
    if spec.timestep_spacing is None and entry.timestep_spacing is not None and takes_spacing:
        filled["timestep_spacing"] = entry.timestep_spacing
    complete = spec.model_copy(update=filled)
    _check_limits(complete, entry)
    return complete


def _check_limits(spec: RenderSpec, entry: ModelEntry) -> None:
    counts = {
        "num_inference_steps": spec.num_inference_steps,
        "timesteps": len(spec.timesteps or ()),
        "sigmas": len(spec.sigmas or ()),
    }
    for field, count in counts.items():
        own = spec.timesteps is not None or spec.sigmas is not None
        if count > entry.max_steps and not (own and field == "num_inference_steps"):
            raise InvalidInput(
                field, f"{count} steps are too many for model {entry.name}", f"1 to {entry.max_steps}"
            )
    if (spec.guidance_scale or 0.0) > entry.max_guidance:
        raise InvalidInput(
            "guidance_scale", f"model {entry.name} is made for less guidance", f"0 to {entry.max_guidance:g}"
        )
