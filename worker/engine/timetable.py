"""Which timesteps a stage takes, as the pipelines cut them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentfarm.errors import SpecError
from latentfarm.modes import Mode, mode_of, strength_of
from latentfarm.states import Stage

if TYPE_CHECKING:
    import torch

    from latentfarm.spec import RenderSpec


def timesteps_of(pipe: Any, spec: RenderSpec, stage: Stage, device: torch.device) -> torch.Tensor:
    """The stage's timesteps; the pipeline's sampler stands before the first of them afterwards.

    Args:
        device: where stock would set the sampler up: some make noise levels of their own there, and
            another device's logarithms differ in the last bit.

    Returns:
        On the CPU: samplers index by them, and on a GPU each look-up would wait for it.

    Raises:
        SpecError: there are none; names the field.
    """
    of_stage = _of_base if stage is Stage.BASE else _of_refiner
    return of_stage(pipe, spec, device).cpu()


def _of_base(pipe: Any, spec: RenderSpec, device: torch.device) -> torch.Tensor:
    timesteps, steps = _whole(pipe.scheduler, spec, spec.num_inference_steps, device)
    if mode_of(spec) is not Mode.TEXT:
        timesteps, _ = pipe.get_timesteps(steps, strength_of(spec), device)
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


def _of_refiner(pipe: Any, spec: RenderSpec, device: torch.device) -> torch.Tensor:
    refiner = spec.refiner
    if refiner is None:
        raise SpecError("the spec has no refiner")
    if refiner.split is not None:
        _, steps = _whole(pipe.scheduler, spec, spec.num_inference_steps, device)
        timesteps, count = pipe.get_timesteps(steps, 0.0, device, denoising_start=refiner.split)
        field = "high_noise_frac"
    else:
        wanted = refiner.num_inference_steps or spec.num_inference_steps
        _, steps = _whole(pipe.scheduler, spec, wanted, device)
        timesteps, count = pipe.get_timesteps(steps, refiner.reworked, device)
        field = "strength"
    if count == 0 or len(timesteps) == 0:
        raise SpecError(f"refiner.{field} leaves the refiner no step")
    return timesteps  # type: ignore[no-any-return]


def _whole(sampler: Any, spec: RenderSpec, steps: int, device: torch.device) -> tuple[torch.Tensor, int]:
    """Sets a sampler up for a spec's whole schedule.

    Args:
        steps: not used where the spec has a schedule of its own.

    Returns:
        All timesteps, and how many steps `strength` is a share of.
    """
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import retrieve_timesteps

    timesteps, count = retrieve_timesteps(
        sampler,
        steps,
        device,
        list(spec.timesteps) if spec.timesteps is not None else None,
        list(spec.sigmas) if spec.sigmas is not None else None,
    )
    return timesteps, count


def _cutoff(pipe: Any, fraction: float) -> int:
    total: int = pipe.scheduler.config.num_train_timesteps
    return round(total - fraction * total)
