"""Loads a stage's pipeline from safetensors files, and puts it on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError
from latentfarm.states import Stage
from worker.engine.weights import component_folders

if TYPE_CHECKING:
    from pathlib import Path


def load_pipeline(
    stage: Stage, folder: Path, variant: str | None, dtype: torch.dtype, device: torch.device
) -> Any:
    """A stage's diffusers pipeline, from a folder of this machine.

    Raises:
        ModelError: a file or a tensor is missing, or of another shape than its config says.
    """
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    _hide_progress_bars()
    cls: Any = StableDiffusionXLPipeline if stage is Stage.BASE else StableDiffusionXLImg2ImgPipeline
    options = {"local_files_only": True, "use_safetensors": True, "dtype": dtype}
    try:
        networks = _load_networks(folder, {**options, "variant": variant})
        pipeline = cls.from_pretrained(folder, add_watermarker=False, **networks, **options)
    except ModelError:
        raise
    except Exception as error:  # whatever a library says about files, it is the model's fault
        raise ModelError(f"cannot load {folder}: {error}") from error
    return place(pipeline, device)


def _load_networks(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """All that has weights, one by one: only so do the libraries tell which tensors were missing.

    Otherwise those would be drawn at random, and the pictures be noise.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    classes: dict[str, Any] = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }
    networks: dict[str, Any] = {}
    for component in component_folders(folder):
        name = component.name
        if name not in classes:
            continue
        try:
            networks[name], told = classes[name].from_pretrained(
                folder, subfolder=name, output_loading_info=True, **options
            )
        except Exception as error:  # whatever a library says about files, it is the model's fault
            raise ModelError(f"cannot load {component}: {error}") from error
        wrong = [*told["missing_keys"], *told["mismatched_keys"]]
        if wrong:
            raise ModelError(f"{folder / name} lacks {len(wrong)} tensors, such as {wrong[0]}")
    return networks


def place(pipeline: Any, device: torch.device) -> Any:
    """Puts a pipeline on its device, in the layout and precision that the engine relies on."""
    vae = pipeline.vae
    if vae.dtype == torch.float16 and vae.config.force_upcast:
        # Stock casts this VAE to float32 and back around each decode; here it is shared by
        # threads, so it is held in float32: the same numbers without the flip.
        vae.to(torch.float32)
    pipeline.to(device)
    if device.type == "cuda":
        pipeline.unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _hide_progress_bars() -> None:
    """They are for people at a terminal; here they would end up in a service's log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
