"""Stage-one latents as bytes: safetensors, with the header as its metadata.

Tensors of torch, or arrays of NumPy for an engine that does without torch: its child starts in half the time.
"""

from __future__ import annotations

import json
import math
from importlib import import_module
from typing import Any, Literal

import numpy as np
import safetensors

from latentfarm.errors import LatentsError
from worker.engine.order import Handover

Framework = Literal["pt", "np"]
"""The library whose arrays an engine works with, as safetensors calls it."""
_LIBRARIES = {"pt": "safetensors.torch", "np": "safetensors.numpy"}
_NAME = "latents"


def pack(handover: Handover) -> bytes:
    """A safetensors file with one tensor."""
    latents: Any = handover.latents
    framework: Framework = "np" if isinstance(latents, np.ndarray) else "pt"
    dense = latents if framework == "np" else latents.contiguous()
    return bytes(_library(framework).save({_NAME: dense}, metadata=dict(handover.header)))


def unpack(data: bytes, framework: Framework = "pt") -> Handover:
    """Reads what `pack` wrote. Whether it fits the render, the engine checks.

    Raises:
        LatentsError: cut short, altered, no latents, or NaN or infinity in them.
    """
    try:
        tensors = _library(framework).load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise LatentsError(f"latents cannot be read: {error}") from error
    if not header or tensors.keys() != {_NAME}:
        raise LatentsError(f"a latents file has one tensor and a header, this one has {sorted(tensors)}")
    latents = tensors[_NAME]
    if latents.ndim != 4 or latents.shape[0] != 1 or "float" not in str(latents.dtype):
        raise LatentsError(f"latents are {tuple(latents.shape)} of {latents.dtype}")
    if not (abs(latents) < math.inf).all():
        raise LatentsError("latents hold NaN or infinity")
    return Handover(latents, header)


def _library(framework: Framework) -> Any:
    """Imported at first use: torch takes more than a second of a core."""
    return import_module(_LIBRARIES[framework])
