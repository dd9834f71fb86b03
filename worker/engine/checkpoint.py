"""A sample between two steps, written down and taken up again by another engine.

What a step changes is the latents, the step's index, the generator, and the sampler's own memory: earlier
outputs, half steps, counters. All of the sampler's plain data is kept, whatever it is called, so that a
sampler which this page does not know is kept whole too. The rest is made again by `prepare`, by the same
code as for a fresh start. A noise source of a sampler's own is not plain: it is a tree of seeds, made when
it is first asked, and gives the same noise for the same interval whatever was asked before.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentfarm.errors import CheckpointError
from worker.engine.decode import notes_of
from worker.engine.order import Checkpoint
from worker.engine.sampler import config_digest

if TYPE_CHECKING:
    from worker.engine.sample import Sample

_log = logging.getLogger(__name__)

VERSION = "1"
_ATOMS = (bool, int, float, str, np.ndarray, np.generic)
_OF_BITS = ("bucket", "device", "threads", "versions", "loras")
"""What provenance tells of that reproducible bits depend on."""
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)


def snapshot(sample: Sample) -> Checkpoint:
    """Copies a sample's state to the CPU. The only work of the render thread for a checkpoint."""
    plain = {name: value for name, value in vars(sample.sampler).items() if _is_plain(value)}
    state = {
        "latents": _copied(sample.latents),
        "generator": _copied(sample.generator.get_state()),
        "sampler": {name: _copied(value) for name, value in plain.items()},
    }
    return Checkpoint(sample.index, state, sample.agreed)


def agreed_of(sample: Sample) -> dict[str, str]:
    """The header of a sample's checkpoints, made once, before its first step.

    Spec and seed, weights, sampler, the length of its timetable, libraries; for a reproducible sample also
    the device and the shape of its forwards, since its bits depend on them.
    """
    import diffusers

    order, model, notes = sample.order, sample.model, notes_of(sample)
    agreed = {
        "version": VERSION,
        "spec": _digest(json.dumps(order.spec.picture(), sort_keys=True).encode()),  # prompts go into no log
        "seed": str(order.seed),
        "stage": order.stage.label,
        "total": str(sample.total),
        "model_hash": model.hashes.get(order.stage, ""),
        "sampler": config_digest(sample.sampler),
        "latents": f"{sample.latents.dtype} {tuple(sample.latents.shape)}",
        "handover": _digest(_bytes(order.handover.latents)) if order.handover else "",
        "versions": f"torch={torch.__version__} diffusers={diffusers.__version__}",
    }
    if sample.reproducible:
        agreed |= {name: notes[name] for name in (*_OF_BITS, *model.speed_notes) if name in notes}
    return agreed


def resume(sample: Sample) -> None:
    """Goes on where the order's checkpoint says. One that does not fit is no error: the steps are taken anew."""
    checkpoint = sample.order.checkpoint
    if checkpoint is None:
        return
    try:
        restore(sample, checkpoint)
    except CheckpointError as error:
        _log.warning("checkpoint of render %d ignored: %s", sample.order.render_id, error)


def restore(sample: Sample, checkpoint: Checkpoint) -> None:
    """Lays a checkpoint over a sample that was just prepared, or changes nothing.

    Raises:
        CheckpointError: it does not belong to this sample, or cannot be read; says what is wrong.
    """
    for name in sorted(sample.agreed.keys() | checkpoint.header.keys()):
        found, expected = checkpoint.header.get(name), sample.agreed.get(name)
        if found != expected:
            raise CheckpointError(f"it was made with {name} {found!r}, this is {expected!r}")
    if not 0 < checkpoint.step < sample.total:
        raise CheckpointError(f"step {checkpoint.step} of {sample.total} is nothing to go on from")
    try:
        _lay(sample, checkpoint)
    except _UNREADABLE as error:
        raise CheckpointError(f"its state cannot be read: {error!r}") from error


def _lay(sample: Sample, checkpoint: Checkpoint) -> None:
    state, device = checkpoint.state, sample.model.device
    latents = _back(state["latents"], device)
    if latents.shape != sample.latents.shape or latents.dtype != sample.latents.dtype:
        raise ValueError(f"latents are {tuple(latents.shape)} of {latents.dtype}")
    if not torch.isfinite(latents).all():
        raise ValueError("latents hold NaN or infinity")
    memory = {name: _back(value, device) for name, value in state["sampler"].items()}
    # The last thing that can fail. It is the generator that the sampler's step is given, too.
    sample.generator.set_state(_back(state["generator"], device))
    sample.latents, sample.index = latents, checkpoint.step
    vars(sample.sampler).update(memory)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (*_ATOMS, torch.Tensor))


def _copied(value: Any) -> Any:
    """Nothing of it is shared with the sampler. A tensor becomes `{where: tensor}`, since samplers use both."""
    if isinstance(value, torch.Tensor):
        where = "cpu" if value.device.type == "cpu" else "device"
        return {where: value.detach().to("cpu", copy=True)}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _back(value: Any, device: torch.device) -> Any:
    """What `_copied` was given, on this device."""
    if isinstance(value, dict):
        ((where, tensor),) = value.items()
        return tensor.to(device if where == "device" else "cpu", copy=True)
    if isinstance(value, list | tuple):
        return type(value)(_back(item, device) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _bytes(latents: torch.Tensor) -> bytes:
    return latents.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
