"""What stage-one latents say about themselves, and the check before the refiner goes on with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from latentfarm.errors import LatentsError
from latentfarm.states import Stage
from worker.engine.sampler import config_digest

if TYPE_CHECKING:
    import torch

    from worker.engine.model import LoadedModel
    from worker.engine.order import Handover, Order
    from worker.engine.sample import Sample

VERSION = "1"


def header_of(sample: Sample) -> dict[str, str]:
    """The header of a base sample's latents: what the refine stage must agree with, and its warnings."""
    return _agreed(sample.order, sample.model, sample.sampler, sample.latents) | {
        "warnings": json.dumps(sample.warnings),
        "steps_done": str(sample.index),
    }


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
    spec = order.spec
    agreed = {
        "version": VERSION,
        "model": model.name,
        "seed": str(order.seed),
        "sampler": type(sampler).__name__,
        "sampler_config": config_digest(sampler),
        "steps": str(spec.num_inference_steps),
        "timesteps": json.dumps(spec.timesteps),
        "sigmas": json.dumps(spec.sigmas),
        "split": repr(spec.refiner.high_noise_frac if spec.refiner else None),
        "loras": json.dumps(model.adapters.named(spec, Stage.BASE)),
        "embeddings": json.dumps(spec.embeddings),
        "dtype": str(latents.dtype).removeprefix("torch."),
        "shape": json.dumps(tuple(latents.shape)),
    }
    if Stage.BASE in model.hashes:  # a refine worker may be without the base's files
        agreed["model_hash"] = model.hashes[Stage.BASE]
    return agreed
