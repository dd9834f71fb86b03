"""The diffusers pipeline of an order: its class by mode, its modules shared, its sampler its own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from latentfarm.errors import SpecError
from latentfarm.modes import Mode, mode_of
from latentfarm.states import Stage
from worker.engine.encoder import Encoder

if TYPE_CHECKING:
    from worker.engine.model import LoadedModel
    from worker.engine.order import Order


def bind(order: Order, model: LoadedModel) -> Any:
    """A pipeline whose methods prepare this order, and never another one.

    Raises:
        ModelError: the stage is not loaded here.
        SpecError: the UNet does not work in the order's mode, or there is no such sampler.
    """
    stock, mode = model.pipeline(order.stage), mode_of(order.spec)
    channels = stock.unet.config.in_channels
    if channels != 4 and not (channels == 9 and mode is Mode.INPAINT):
        raise SpecError(f"a UNet with {channels} input channels does not do {mode}")
    pipe = _as(stock, _class_of(mode, order.stage))
    pipe.scheduler = model.samplers.build(order.spec, stock.scheduler.config, order.seed)
    if mode is not Mode.TEXT:
        pipe.vae = Encoder(stock.vae)
    return pipe


def _class_of(mode: Mode, stage: Stage) -> Any:
    """As in diffusers' guide: what was painted into is refined with the same mask."""
    import diffusers

    if mode is Mode.INPAINT:
        return diffusers.StableDiffusionXLInpaintPipeline
    if mode is Mode.IMAGE or stage is Stage.REFINE:
        return diffusers.StableDiffusionXLImg2ImgPipeline
    return diffusers.StableDiffusionXLPipeline


def _as(stock: Any, cls: Any) -> Any:
    """The same modules and settings in another class; takes a millisecond and no memory."""
    if type(stock) is cls:
        return copy.copy(stock)
    settings = {
        name: stock.config[name]
        for name in ("requires_aesthetics_score", "force_zeros_for_empty_prompt")
        if name in stock.config
    }
    return cls(**stock.components, **settings, add_watermarker=False)
