"""An order -> a sample, through the pipelines' own methods. Only their loop is ours."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import LatentsError, SpecError
from latentfarm.states import Stage
from worker.engine.conditioning import condition, cut_warnings
from worker.engine.header import check_header
from worker.engine.sample import Sample
from worker.engine.sampler import build

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Order


def prepare(order: Order, model: LoadedModel) -> Sample:
    """Encodes prompts, sets up the sampler, draws or takes over the latents.

    Raises:
        SpecError: the model cannot do what the spec asks.
        LatentsError: handed-over latents that do not belong to the spec.
        ModelError: the stage is not loaded here.
    """
    spec = order.spec
    stock = model.pipeline(order.stage)
    pipe = copy.copy(stock)  # binds the methods to a sampler of its own; shares all modules
    pipe.scheduler = build(spec, stock.scheduler.config, order.seed)
    model.embeddings.teach(pipe, spec.embeddings, model.encoding)
    generator = torch.Generator("cpu").manual_seed(order.seed)
    if order.stage is Stage.BASE:
        timesteps, latents, warnings = _start_base(pipe, order, model, generator)
    else:
        timesteps, latents, warnings = _start_refiner(pipe, order, model)
    guidance = _guidance(spec, order.stage)
    conditioning = condition(pipe, model, spec, order.stage, guidance)
    return Sample(
        order=order,
        model=model,
        latents=latents,
        timesteps=timesteps,
        sampler=pipe.scheduler,
        generator=generator,
        step_options=pipe.prepare_extra_step_kwargs(generator, spec.eta),
        guidance_scale=guidance,
        guidance_rescale=spec.guidance_rescale,
        warnings=warnings,
        **conditioning._asdict(),
    )


def _guidance(spec: RenderSpec, stage: Stage) -> float:
    if stage is Stage.REFINE and spec.refiner and spec.refiner.guidance_scale is not None:
        return spec.refiner.guidance_scale
    return spec.guidance_scale


def _start_base(
    pipe: Any, order: Order, model: LoadedModel, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    spec = order.spec
    timesteps, _ = _schedule(pipe, spec)
    if spec.refiner is not None:
        cutoff = _cutoff(pipe, spec.refiner.high_noise_frac)
        # As stock: that many *leading* entries, also where timesteps do not fall evenly.
        timesteps = timesteps[: int((timesteps >= cutoff).sum())]
    if len(timesteps) == 0:
        raise SpecError("refiner.high_noise_frac leaves the base no step")
    if hasattr(pipe.scheduler, "set_begin_index"):
        pipe.scheduler.set_begin_index(0)
    latents = pipe.prepare_latents(
        1,
        pipe.unet.config.in_channels,
        spec.height,
        spec.width,
        model.dtype,
        model.device,
        generator,
    )
    return timesteps, latents, cut_warnings(pipe, model, spec)


def _start_refiner(
    pipe: Any, order: Order, model: LoadedModel
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    spec = order.spec
    if spec.refiner is None or order.handover is None:
        raise LatentsError("the refine stage needs latents and a spec with a refiner")
    _, steps = _schedule(pipe, spec)  # first: some samplers settle their config only here
    warnings = check_header(order.handover, order, model, pipe.scheduler)
    if not torch.isfinite(order.handover.latents).all():
        raise LatentsError("latents hold NaN or infinity")
    timesteps, count = pipe.get_timesteps(steps, 0.0, "cpu", denoising_start=spec.refiner.high_noise_frac)
    if count == 0:
        raise SpecError("refiner.high_noise_frac leaves the refiner no step")
    return timesteps, order.handover.latents.to(device=model.device, dtype=model.dtype), warnings


def _schedule(pipe: Any, spec: RenderSpec) -> tuple[torch.Tensor, int]:
    """All timesteps, on the CPU: samplers index by them, and on a GPU each look-up would wait for it."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import retrieve_timesteps

    timesteps, steps = retrieve_timesteps(
        pipe.scheduler,
        spec.num_inference_steps,
        "cpu",
        list(spec.timesteps) if spec.timesteps is not None else None,
        list(spec.sigmas) if spec.sigmas is not None else None,
    )
    return timesteps, steps


def _cutoff(pipe: Any, fraction: float) -> int:
    total: int = pipe.scheduler.config.num_train_timesteps
    return round(total - fraction * total)
