"""Loads a stage's pipeline from safetensors files, and puts it on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError
from latentfarm.states import Stage
from worker.engine.networks import load_networks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.engine.sources import Source


def load_pipeline(
    stage: Stage, source: Source, dtype: torch.dtype, device: torch.device, shared: Mapping[str, Any]
) -> Any:
    """A stage's diffusers pipeline, from files of this machine.

    Args:
        shared: networks that are in memory already, by component.

    Raises:
        ModelError: a file or a tensor is missing, or of another shape than its config says.
    """
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    _hide_progress_bars()
    cls: Any = StableDiffusionXLPipeline if stage is Stage.BASE else StableDiffusionXLImg2ImgPipeline
    try:
        networks = {**load_networks(cls, source, skip=shared.keys()), **shared}
        pipeline = cls.from_pretrained(
            source.configs,
            add_watermarker=False,
            local_files_only=True,
            use_safetensors=True,
            dtype=dtype,
            **networks,
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a library says about files, it is the model's fault
        raise ModelError(f"cannot load {source.configs}: {error}") from error
    return place(pipeline, device)


def place(pipeline: Any, device: torch.device) -> Any:
    """Puts a pipeline on its device, in the precision that the engine relies on."""
    vae = pipeline.vae
    if vae.dtype == torch.float16 and vae.config.force_upcast:
        # Stock casts this VAE to float32 and back around each decode; here it is shared by
        # threads, so it is held in float32: the same numbers without the flip.
        vae.to(torch.float32)
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _hide_progress_bars() -> None:
    """They are for people at a terminal; here they would end up in a service's log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
