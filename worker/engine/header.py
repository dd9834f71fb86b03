"""What stage-one latents say about themselves, and the check before the refiner goes on with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import LatentsError
from latentfarm.modes import Mode, mode_of, strength_of
from latentfarm.states import Stage
from worker.engine.sampler import config_digest

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Handover, Order
    from worker.engine.sample import Sample

VERSION = "2"
_CHANNELS_LAST = "channels_last"


def header_of(sample: Sample) -> dict[str, str]:
    """The header of a base sample's latents: what the refine stage must agree with, and its warnings."""
    return _agreed(sample.order, sample.model, sample.sampler, sample.latents) | {
        "warnings": json.dumps(sample.warnings),
        "steps_done": str(sample.index),
        "layout": _CHANNELS_LAST if _is_channels_last(sample.latents) else "",
    }


def restored(handover: Handover) -> torch.Tensor:
    """The latents in the memory layout that the base left them in, which files do not keep.

    Convolutions choose their kernels by it. An encoded picture has its channels last, and a refiner
    that met it otherwise would differ from stock's by rounding.
    """
    if handover.header.get("layout") == _CHANNELS_LAST:
        return handover.latents.contiguous(memory_format=torch.channels_last)
    return handover.latents


def _is_channels_last(latents: torch.Tensor) -> bool:
    return latents.is_contiguous(memory_format=torch.channels_last) and not latents.is_contiguous()


def check_header(handover: Handover, order: Order, model: LoadedModel, sampler: Any) -> tuple[str, ...]:
    """Compares a header with what the refine stage would have written itself.

    Returns:
        The warnings of the base stage.

    Raises:
        LatentsError: they differ; names the entry.
    """
    for key, expected in _agreed(order, model, sampler, handover.latents).items():
        found = handover.header.get(key)
        if found != expected:
            raise LatentsError(
                f"latents were made with {key} {found!r}, the refiner is asked for {expected!r}"
            )
    expected_shape = (1, 4, (order.spec.height or 0) // 8, (order.spec.width or 0) // 8)
    if tuple(handover.latents.shape) != expected_shape:
        raise LatentsError(f"latents are {tuple(handover.latents.shape)}, the spec needs {expected_shape}")
    try:
        return tuple(str(line) for line in json.loads(handover.header.get("warnings", "[]")))
    except (ValueError, TypeError) as error:
        raise LatentsError(f"the header's warnings cannot be read: {error}") from error


def _agreed(order: Order, model: LoadedModel, sampler: Any, latents: torch.Tensor) -> dict[str, str]:
    spec, mode = order.spec, mode_of(order.spec)
    agreed = {
        "version": VERSION,
        "model": model.name,
        "seed": str(order.seed),
        "sampler": type(sampler).__name__,
        "sampler_config": _settings(spec, sampler),
        "steps": str(spec.num_inference_steps),
        "timesteps": json.dumps(spec.timesteps),
        "sigmas": json.dumps(spec.sigmas),
        "split": repr(spec.refiner.split if spec.refiner else None),
        "mode": str(mode),
        "strength": repr(None if mode is Mode.TEXT else strength_of(spec)),
        "loras": json.dumps(model.adapters.named(spec, Stage.BASE)),
        "embeddings": json.dumps(spec.embeddings),
        "dtype": str(latents.dtype).removeprefix("torch."),
        "shape": json.dumps(tuple(latents.shape)),
    }
    if Stage.BASE in model.hashes:  # a refine worker may be without the base's files
        agreed["model_hash"] = model.hashes[Stage.BASE]
    return agreed


def _settings(spec: RenderSpec, sampler: Any) -> str:
    """The two stages of an ensemble share one timetable; whole latents may meet another one.

    A sampler's config can follow its steps, and those of a refiner in mode `image` are its own: then
    it is what the user asked of the sampler that must agree.
    """
    if spec.refiner is None or spec.refiner.split is not None:
        return config_digest(sampler)
    return json.dumps([spec.sigma_schedule, spec.timestep_spacing, spec.rescale_betas_zero_snr])
