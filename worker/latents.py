"""Stage-one latents as bytes: safetensors, with the header as its metadata."""

from __future__ import annotations

import json

import safetensors
import torch
from safetensors.torch import load, save

from latentfarm.errors import LatentsError
from worker.engine.order import Handover

_NAME = "latents"


def pack(handover: Handover) -> bytes:
    """A safetensors file with one tensor."""
    return bytes(save({_NAME: handover.latents.contiguous()}, metadata=dict(handover.header)))


def unpack(data: bytes) -> Handover:
    """Reads what `pack` wrote. Whether it fits the render, the engine checks.

    Raises:
        LatentsError: cut short, altered, no latents, or NaN or infinity in them.
    """
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise LatentsError(f"latents cannot be read: {error}") from error
    if not header or tensors.keys() != {_NAME}:
        raise LatentsError(f"a latents file has one tensor and a header, this one has {sorted(tensors)}")
    latents = tensors[_NAME]
    if latents.ndim != 4 or latents.shape[0] != 1 or not latents.is_floating_point():
        raise LatentsError(f"latents are {tuple(latents.shape)} of {latents.dtype}")
    if not torch.isfinite(latents).all():
        raise LatentsError("latents hold NaN or infinity")
    return Handover(latents, header)
