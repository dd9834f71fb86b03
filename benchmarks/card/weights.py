"""The models that are compared: the same random weights in every arm, or a folder's where the machine is small."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.states import Stage
from worker.engine.model import LoadedModel, load_model
from worker.engine.speed import apply_speed, least_rows, notes_of_speed

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.registry import ModelEntry

NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")


def engine_model(entry: ModelEntry, device: str, *, full: bool, tokenizers: Path) -> LoadedModel:
    """What the engine runs, with the entry's options in effect.

    Args:
        entry: its dtype, bucket and speed; its folders too unless `full`.
        full: SDXL base and refiner at their real size with random weights, on CUDA.
        tokenizers: folder of a model whose tokenizers are read.
    """
    if not full:
        return load_model(entry, [Stage.BASE], device)
    from tests.gpu.full_size import load_full_size

    model = load_full_size(tokenizers, getattr(torch, entry.dtype), entry.bucket)
    model.name = entry.name
    del model.pipelines[Stage.REFINE]  # what is compared is the base, as MLPerf does
    apply_speed(entry.speed, model.pipelines.values(), model.device)
    model.speed_notes, model.least_rows = notes_of_speed(entry.speed), least_rows(entry.speed)
    return model


def stock_pipeline(model: LoadedModel, dtype: torch.dtype) -> Any:
    """A pipeline as `from_pretrained(..., torch_dtype=dtype)` would give it, with the numbers of `model`.

    Nothing that the engine set up is left in it: no compiler, no layout, no fused projections.
    """
    found = copy.copy(model.pipelines[Stage.BASE])
    for name in NETWORKS:
        network = getattr(found, name)
        kind: Any = type(network)
        with model.device:  # a CPU would draw 2.6 billion numbers that are thrown away
            # Diffusers' classes and transformers' differ in this.
            fresh = kind.from_config(network.config) if hasattr(kind, "from_config") else kind(network.config)
        fresh.load_state_dict(_plain(network))
        fresh.to(device=model.device, dtype=dtype).eval().requires_grad_(requires_grad=False)
        setattr(found, name, fresh)
    found.register_modules(**{name: getattr(found, name) for name in NETWORKS})
    found.scheduler = type(found.scheduler).from_config(found.scheduler.config)
    found.set_progress_bar_config(disable=True)
    return found


def _plain(network: Any) -> dict[str, torch.Tensor]:
    """The state without joined projections, which are copies of those that they were made of."""
    state: dict[str, torch.Tensor] = network.state_dict()
    joined = (".to_qkv.", ".to_kv.", ".to_added_qkv.")
    return {
        name: tensor.contiguous()
        for name, tensor in state.items()
        if not any(part in name for part in joined)
    }
