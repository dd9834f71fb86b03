"""An order -> a sample, through the pipelines' own methods. Only their loop is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentfarm.modes import guidance_of
from latentfarm.states import Stage
from worker.engine.binding import bind
from worker.engine.checkpoint import agreed_of, resume
from worker.engine.conditioning import condition
from worker.engine.sample import Sample
from worker.engine.start import start

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Order


def prepare(order: Order, model: LoadedModel) -> Sample:
    """Encodes prompts and pictures, sets up the sampler, draws or takes over the latents.

    An order with a checkpoint goes on from there, after all that: nothing of it is made another way.

    Raises:
        SpecError: the model cannot do what the spec asks.
        LatentsError: handed-over latents that do not belong to the spec.
        ModelError: the stage is not loaded here.
    """
    spec = order.spec
    pipe = bind(order, model)
    model.embeddings.teach(pipe, spec.embeddings, model.encoding)
    generator = torch.Generator("cpu").manual_seed(order.seed)
    begun = start(pipe, order, model, generator)
    guidance = _guidance(spec, order.stage)
    size = (8 * begun.latents.shape[-2], 8 * begun.latents.shape[-1])
    conditioning = condition(pipe, model, spec, order.stage, guidance, size)
    sample = Sample(
        order=order,
        model=model,
        sampler=pipe.scheduler,
        generator=generator,
        step_options=pipe.prepare_extra_step_kwargs(generator, spec.eta),
        guidance_scale=guidance,
        guidance_rescale=spec.guidance_rescale,
        **begun._asdict(),
        **conditioning._asdict(),
    )
    sample.agreed = agreed_of(sample)
    resume(sample)
    return sample


def _guidance(spec: RenderSpec, stage: Stage) -> float:
    if stage is Stage.REFINE and spec.refiner and spec.refiner.guidance_scale is not None:
        return spec.refiner.guidance_scale
    return guidance_of(spec)
