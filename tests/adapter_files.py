"""LoRA and embedding files for a pipeline, drawn from a seed, in the layouts that people publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RANK = 4
_UNET = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.2")
_ENCODER = ("q_proj", "k_proj", "v_proj", "out_proj")


def write_lora(
    path: Path,
    pipeline: Any,
    seed: int,
    *,
    layout: str = "peft",
    networks: tuple[str, ...] = ("unet", "text_encoder", "text_encoder_2"),
    size: float = 0.15,
) -> Path:
    """A LoRA that moves pictures visibly. `layout` is `peft` or `kohya`."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for network, name, layer in _layers(pipeline, networks):
        down = size * torch.randn(RANK, layer.in_features, generator=generator)
        up = size * torch.randn(layer.out_features, RANK, generator=generator)
        if layout == "peft":
            tensors |= {f"{network}.{name}.lora_A.weight": down, f"{network}.{name}.lora_B.weight": up}
            continue
        key = _kohya(network, name)
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        tensors[f"{key}.alpha"] = torch.tensor(3.0)
    save_file(tensors, path)
    return path


def write_embedding(path: Path, pipeline: Any, seed: int, rows: int = 1) -> Path:
    """A textual inversion for both encoders."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, encoder in (("clip_l", pipeline.text_encoder), ("clip_g", pipeline.text_encoder_2)):
        if encoder is not None:
            tensors[key] = torch.randn(rows, encoder.config.hidden_size, generator=generator)
    save_file(tensors, path)
    return path


def _layers(pipeline: Any, networks: tuple[str, ...]) -> Iterator[tuple[str, str, torch.nn.Linear]]:
    for network in networks:
        module = getattr(pipeline, network, None)
        if module is None:
            continue
        ends = _UNET if network == "unet" else _ENCODER
        for name, layer in module.named_modules():
            if isinstance(layer, torch.nn.Linear) and name.endswith(ends):
                yield network, name, layer


def _kohya(network: str, name: str) -> str:
    start = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[network]
    if network != "unet" and not name.startswith("text_model."):
        name = f"text_model.{name}"  # as the encoders were built when these files were made
    return f"{start}_{name.replace('.', '_')}"
