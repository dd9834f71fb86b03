"""Weights that the tiny model has not: a UNet's that is shown picture and mask, LoRAs', embeddings'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from benchmarks.equality.models import ADAPTERS, NINE_CHANNELS
from benchmarks.equality.stock import load_pipelines
from latentfarm.states import Stage
from tests.adapter_files import write_embedding, write_lora

if TYPE_CHECKING:
    from pathlib import Path

UNET = "diffusion_pytorch_model.safetensors"
SIZE = 0.1
"""Of a LoRA's random numbers: its pictures differ, and are still pictures."""


def write_weights(folder: Path, tiny: Path) -> None:
    """Writes what the registry of `write_models` names and links do not lead to.

    Args:
        folder: that `write_models` was given.
        tiny: the folder of the tiny model.
    """
    for kind in NINE_CHANNELS:
        _write_wide(tiny / "base" / "unet" / UNET, folder / kind / "base" / "unet" / UNET)
    pipelines = load_pipelines(str(tiny / "base"), str(tiny / "refiner"))
    base, refiner = pipelines[Stage.BASE], pipelines[Stage.REFINE]
    adapters = folder / ADAPTERS
    adapters.mkdir()
    write_lora(adapters / "plain.safetensors", base, 1, size=SIZE)
    write_lora(adapters / "kohya.safetensors", base, 2, layout="kohya", size=SIZE)
    write_lora(adapters / "unet.only.safetensors", base, 3, networks=("unet",), size=SIZE)
    write_lora(
        adapters / "for-refiner.safetensors", refiner, 4, networks=("unet", "text_encoder_2"), size=SIZE
    )
    write_embedding(adapters / "mood.safetensors", base, 5)
    write_embedding(adapters / "rows.safetensors", base, 6, rows=3)


def _write_wide(source: Path, target: Path) -> None:
    """Seeded weights for the new channels, small enough that the old ones are still heard."""
    weights = load_file(source)
    kernel = weights["conv_in.weight"]
    extra = torch.randn((kernel.shape[0], 5, 3, 3), generator=torch.Generator().manual_seed(9))
    weights["conv_in.weight"] = torch.cat([kernel, 0.05 * extra], dim=1)
    save_file(weights, target)
