"""Other forms of the pair, made for tests: half precision, and single files as SDXL was published."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor

from training.original_keys import original_clip, original_open_clip, original_unet, original_vae

_STAGES = {"base": StableDiffusionXLPipeline, "refiner": StableDiffusionXLImg2ImgPipeline}


def export(model: Path, output: Path) -> list[Path]:
    """Write `fp16/base`, `fp16/refiner` (variant="fp16") and `base.safetensors`, `refiner.safetensors`.

    Raises OSError when `model` lacks a file.
    """
    written = []
    for stage, kind in _STAGES.items():
        pipeline: Any = kind.from_pretrained(model / stage, local_files_only=True, use_safetensors=True)
        output.mkdir(parents=True, exist_ok=True)
        single = output / f"{stage}.safetensors"
        save_file(single_file(pipeline), single)
        half = output / "fp16" / stage
        pipeline.to(dtype=torch.float16)
        pipeline.save_pretrained(half, variant="fp16", safe_serialization=True)
        written += [single, half]
    return written


def single_file(pipeline: Any) -> dict[str, Tensor]:
    """All weights of a pipeline under their original names, as safetensors wants them."""
    weights = original_unet(pipeline.unet.state_dict(), pipeline.unet.config.layers_per_block)
    weights |= original_vae(pipeline.vae.state_dict(), len(pipeline.vae.config.up_block_types))
    if pipeline.text_encoder is not None:
        weights |= original_clip(pipeline.text_encoder.state_dict(), 0)
    # In the refiner the second encoder is the only one.
    place = 0 if pipeline.text_encoder is None else 1
    weights |= original_open_clip(pipeline.text_encoder_2.state_dict(), place)
    return {name: value.contiguous() for name, value in weights.items()}
