"""Checkpoints as bytes: safetensors, with all that is no tensor as one line of JSON in its metadata.

The same checkpoint always gives the same bytes. torch is asked for only where there are tensors: importing it takes more
than a second of a core, and an engine may do without.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import safetensors

from latentfarm.errors import CheckpointError
from worker.engine.order import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

MEDIA_TYPE = "application/octet-stream"
_META = "checkpoint"
_UNREADABLE = (
    safetensors.SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError, RecursionError
)  # fmt: skip
"""What ruined bytes make of the libraries that read them."""


def pack(checkpoint: Checkpoint) -> bytes:
    """A safetensors file.

    Raises:
        TypeError: the state holds something that is not plain.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _flat(checkpoint.state, tensors)
    told = {"step": checkpoint.step, "header": checkpoint.header, "state": tree}
    metadata = {_META: json.dumps(told)}
    return bytes(_library().save(tensors, metadata) if tensors else safetensors.serialize({}, metadata))


def unpack(data: bytes) -> Checkpoint:
    """Reads what `pack` wrote. Whether it fits the render, the engine checks.

    Raises:
        CheckpointError: cut short, altered, or something else.
    """
    try:
        # Checked in full either way; without tensors there is nothing to load.
        tensors = _library().load(data) if safetensors.deserialize(data) else {}  # type: ignore[no-untyped-call]
        about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        told = json.loads(about[_META])
        step, header = told["step"], told["header"]
        if not isinstance(step, int) or not all(isinstance(text, str) for text in header.values()):
            raise TypeError("step or header")
        state = _tree(told["state"], tensors)
        if not isinstance(state, dict):
            raise TypeError("state")
    except _UNREADABLE as error:
        raise CheckpointError(f"checkpoint cannot be read: {error!r}") from error
    return Checkpoint(step, state, header)


def _library() -> Any:
    return import_module("safetensors.torch")


def _is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """There are none in a process that has not imported torch."""
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def _flat(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON of a value. What JSON has no word for is a list that begins with the word for it."""
    if _is_tensor(value):
        return _tensor(value, tensors)
    if isinstance(value, np.ndarray):
        return ["array", _array(value, tensors)]
    if isinstance(value, np.generic):
        return ["scalar", _array(np.array([value]), tensors)]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_flat(item, tensors) for item in value]]
    if isinstance(value, dict):
        return {str(name): _flat(item, tensors) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} is not plain")


def _tensor(value: torch.Tensor, tensors: dict[str, torch.Tensor]) -> list[Any]:
    import torch

    # Files keep no memory layout, and kernels are chosen by it: it comes back with its strides.
    name = f"t{len(tensors)}"
    tensors[name] = value.clone(memory_format=torch.contiguous_format)  # files share no memory
    return ["tensor", name, None if value.is_contiguous() else list(value.stride())]


def _array(value: np.ndarray[Any, Any], tensors: dict[str, torch.Tensor]) -> list[Any]:
    import torch

    return _tensor(torch.from_numpy(np.ascontiguousarray(value)), tensors)


def _tree(found: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The value that `_flat` was given."""
    if isinstance(found, dict):
        return {name: _tree(item, tensors) for name, item in found.items()}
    if not isinstance(found, list):
        return found
    kind, content, *more = found
    if kind == "tensor":
        return _strided(tensors[content], more[0])
    readers: dict[str, Callable[[Any], Any]] = {
        "array": lambda item: _tree(item, tensors).numpy(),
        "scalar": lambda item: _tree(item, tensors).numpy()[0],
        "list": lambda items: [_tree(item, tensors) for item in items],
        "tuple": lambda items: tuple(_tree(item, tensors) for item in items),
    }
    return readers[kind](content)


def _strided(tensor: torch.Tensor, strides: list[int] | None) -> torch.Tensor:
    if strides is None:
        return tensor
    import torch

    # As many elements as it spans, so that no two of them share a place and none is left out.
    spanned = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
    if spanned != tensor.numel() or min(strides) < 0:
        raise ValueError(f"strides {strides} for {tuple(tensor.shape)}")
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)
