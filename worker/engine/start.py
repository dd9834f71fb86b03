"""What a sample starts from: noise, a picture, a picture with a mask, or the base's latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from latentfarm.errors import LatentsError, SpecError
from latentfarm.modes import Mode, first_stage, mode_of, strength_of
from latentfarm.states import Stage
from worker.engine.conditioning import cut_warnings
from worker.engine.header import check_header, restored
from worker.engine.order import Inputs
from worker.engine.painting import Overlay, Painting, paint
from worker.engine.timetable import timesteps_of

if TYPE_CHECKING:
    from worker.engine.model import LoadedModel
    from worker.engine.order import Order


class Start(NamedTuple):
    """A sample before its first step.

    Attributes:
        timesteps: of this stage, on the CPU.
        latents: `[1, 4, height / 8, width / 8]` on the device.
        warnings: what the user should know.
        painting: of an inpainting job.
        overlay: what the finished picture is put back into.
    """

    timesteps: torch.Tensor
    latents: torch.Tensor
    warnings: tuple[str, ...] = ()
    painting: Painting | None = None
    overlay: Overlay | None = None


def start(pipe: Any, order: Order, model: LoadedModel, generator: torch.Generator) -> Start:
    """Sets up the sampler and draws, encodes or takes over the latents, in stock's order.

    Args:
        pipe: bound to this order.
        generator: at the image's seed.

    Raises:
        SpecError: a stage is left no step, or the pictures do not fit.
        LatentsError: handed-over latents that do not belong to the spec.
    """
    spec, mode = order.spec, mode_of(order.spec)
    if order.stage is not first_stage(spec):
        return _refiner(pipe, order, model, generator)
    timesteps = timesteps_of(pipe, spec, order.stage, model.device)
    warnings = cut_warnings(pipe, model, spec)
    if mode is Mode.TEXT:
        latents = pipe.prepare_latents(
            1, pipe.unet.config.in_channels, spec.height, spec.width, model.dtype, model.device, generator
        )
        return Start(timesteps, latents, warnings)
    inputs = inputs_of(order)
    if mode is Mode.IMAGE:
        image = pipe.image_processor.preprocess(inputs.image, height=spec.height, width=spec.width)
        latents = _noised(pipe, image, timesteps, model, generator, add_noise=True)
        return Start(timesteps, latents, warnings)
    latents, painting, overlay = paint(
        pipe, spec, inputs, model, generator, timesteps[:1], pure_noise=strength_of(spec) == 1.0
    )
    return Start(timesteps, latents, warnings, painting, overlay)


def _refiner(pipe: Any, order: Order, model: LoadedModel, generator: torch.Generator) -> Start:
    spec, handover = order.spec, order.handover
    if spec.refiner is None or handover is None:
        raise LatentsError("the refine stage needs latents and a spec with a refiner")
    # First: some samplers settle their config here.
    timesteps = timesteps_of(pipe, spec, Stage.REFINE, model.device)
    warnings = check_header(handover, order, model, pipe.scheduler)
    if not torch.isfinite(handover.latents).all():
        raise LatentsError("latents hold NaN or infinity")
    image = restored(handover).to(device=model.device, dtype=model.dtype)
    add_noise = spec.refiner.split is None
    if mode_of(spec) is not Mode.INPAINT:
        latents = _noised(pipe, image, timesteps, model, generator, add_noise=add_noise)
        return Start(timesteps, latents, warnings)
    latents, painting, _ = paint(
        pipe,
        spec,
        inputs_of(order),
        model,
        generator,
        timesteps[:1],
        pure_noise=add_noise and spec.refiner.reworked == 1.0,
        add_noise=add_noise,
        latents=image,
    )
    return Start(timesteps, latents, warnings, painting)


def _noised(
    pipe: Any,
    image: torch.Tensor,
    timesteps: torch.Tensor,
    model: LoadedModel,
    generator: torch.Generator,
    *,
    add_noise: bool,
) -> torch.Tensor:
    latents: torch.Tensor = pipe.prepare_latents(
        image, timesteps[:1], 1, 1, model.dtype, model.device, generator, add_noise
    )
    return latents


def inputs_of(order: Order) -> Inputs:
    """The pictures of an order, without transparency, as diffusers' own loader leaves them.

    Raises:
        SpecError: one is missing, or the mask is of another size than the image.
    """
    inputs, masked = order.inputs, mode_of(order.spec) is Mode.INPAINT
    if inputs is None or (masked and inputs.mask is None):
        raise SpecError("the pictures of the job did not come with the order")
    if inputs.mask is not None and inputs.mask.size != inputs.image.size:
        raise SpecError(f"mask_image is {inputs.mask.size}, the image is {inputs.image.size}")
    return Inputs(inputs.image.convert("RGB"), inputs.mask.convert("RGB") if inputs.mask else None)
