"""Which timesteps a stage takes, as the pipelines cut them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentfarm.errors import SpecError
from latentfarm.modes import Mode, mode_of, strength_of
from latentfarm.states import Stage

if TYPE_CHECKING:
    import torch

    from latentfarm.spec import RenderSpec


def timesteps_of(pipe: Any, spec: RenderSpec, stage: Stage) -> torch.Tensor:
    """The stage's timesteps; the pipeline's sampler stands before the first of them afterwards.

    Raises:
        SpecError: there are none; names the field.
    """
    if stage is Stage.REFINE and spec.refiner is not None:
        return _of_refiner(pipe, spec)
    timesteps, steps = whole(pipe.scheduler, spec, spec.num_inference_steps)
    if mode_of(spec) is not Mode.TEXT:
        timesteps, _ = pipe.get_timesteps(steps, strength_of(spec), "cpu")
        if len(timesteps) == 0:
            raise SpecError("strength leaves the base no step")
    if spec.refiner is not None and spec.refiner.split is not None:
        cutoff = _cutoff(pipe, spec.refiner.split)
        # As stock: that many *leading* entries, also where timesteps do not fall evenly.
        timesteps = timesteps[: int((timesteps >= cutoff).sum())]
        if len(timesteps) == 0:
            raise SpecError("refiner.high_noise_frac leaves the base no step")
    if mode_of(spec) is Mode.TEXT and hasattr(pipe.scheduler, "set_begin_index"):
        pipe.scheduler.set_begin_index(0)
    return timesteps


def _of_refiner(pipe: Any, spec: RenderSpec) -> torch.Tensor:
    refiner = spec.refiner
    if refiner is None:
        raise SpecError("the spec has no refiner")
    if refiner.split is not None:
        _, steps = whole(pipe.scheduler, spec, spec.num_inference_steps)
        timesteps, count = pipe.get_timesteps(steps, 0.0, "cpu", denoising_start=refiner.split)
        field = "high_noise_frac"
    else:
        _, steps = whole(pipe.scheduler, spec, refiner.num_inference_steps or spec.num_inference_steps)
        timesteps, count = pipe.get_timesteps(steps, refiner.reworked, "cpu")
        field = "strength"
    if count == 0 or len(timesteps) == 0:
        raise SpecError(f"refiner.{field} leaves the refiner no step")
    return timesteps  # type: ignore[no-any-return]


def whole(sampler: Any, spec: RenderSpec, steps: int) -> tuple[torch.Tensor, int]:
    """Sets a sampler up for a spec's whole schedule.

    Args:
        steps: not used where the spec has a schedule of its own.

    Returns:
        All timesteps, on the CPU: samplers index by them, and on a GPU each look-up would wait for
        it. And how many steps `strength` is a share of.
    """
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import retrieve_timesteps

    timesteps, count = retrieve_timesteps(
        sampler,
        steps,
        "cpu",
        list(spec.timesteps) if spec.timesteps is not None else None,
        list(spec.sigmas) if spec.sigmas is not None else None,
    )
    return timesteps, count


def _cutoff(pipe: Any, fraction: float) -> int:
    total: int = pipe.scheduler.config.num_train_timesteps
    return round(total - fraction * total)
