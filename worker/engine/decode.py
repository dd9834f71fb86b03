"""Finished latents -> a result: the image, or what the refiner goes on with."""

from __future__ import annotations

import copy
import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import NonFiniteError
from latentfarm.modes import first_stage
from latentfarm.states import Stage
from worker.engine.header import header_of
from worker.engine.order import Handover, Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.spec import RenderSpec
    from worker.engine.painting import Overlay
    from worker.engine.sample import Sample


def finish(sample: Sample, image: torch.Tensor | None = None) -> Handover | Picture:
    """The result of a sample whose steps are all done.

    Args:
        image: what `decode_together` gave for it.

    Raises:
        NonFiniteError: NaN or infinity in the latents; or in the pixels, also after decoding once
            more in float32. Never a black image.
    """
    if not torch.isfinite(sample.latents).all():
        raise NonFiniteError(f"latents are not finite after {sample.index} steps")
    if sample.order.stage is Stage.BASE and sample.order.spec.refiner is not None:
        return Handover(sample.latents.cpu(), header_of(sample))
    pipe = sample.model.pipelines[sample.order.stage]
    if image is None or not torch.isfinite(image).all():
        image = decode(pipe, sample.latents)
    pixels = _pixels(pipe, image, sample.overlay)
    return Picture(pixels, notes_of(sample), sample.warnings)


def decode_together(samples: Sequence[Sample]) -> list[torch.Tensor]:
    """Images of one model, stage and size; see `Decodable`. Gives `[1, 3, height, width]` each, -1 to 1, finite or not."""
    pipe = samples[0].model.pipelines[samples[0].order.stage]
    images = through(pipe.vae, torch.cat([sample.latents for sample in samples]))
    return [images[number : number + 1] for number in range(len(samples))]


def decode(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    """One image: a constant shape, and the one that stock has. Gives `[1, 3, height, width]`, -1 to 1.

    Raises:
        NonFiniteError: NaN or infinity, also with the VAE in float32.
    """
    image = through(pipe.vae, latents)
    if not torch.isfinite(image).all():
        image = through(copy.deepcopy(pipe.vae).to(torch.float32), latents)
    if not torch.isfinite(image).all():
        raise NonFiniteError("pixels are not finite, also with the VAE in float32")
    return image


def through(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """What a VAE makes of latents as samplers hold them."""
    latents = latents.to(vae.dtype)
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is not None and std is not None:
        mean, std = (torch.tensor(value).view(1, 4, 1, 1).to(latents) for value in (mean, std))
        latents = latents * std / vae.config.scaling_factor + mean
    else:
        latents = latents / vae.config.scaling_factor
    image: torch.Tensor = vae.decode(latents, return_dict=False)[0]
    return image


def _pixels(pipe: Any, image: torch.Tensor, overlay: Overlay | None) -> torch.Tensor:
    """`[1, 3, height, width]`, -1 to 1 -> `[height, width, 3]`, uint8, on the CPU, rounded as stock rounds.

    With an overlay the height and width are those of the picture that the crop was taken from.
    """
    if overlay is not None:
        painted = pipe.image_processor.postprocess(image, output_type="pil")[0]
        return torch.from_numpy(overlay.apply(pipe, painted).copy())
    # On the device, in stock's arithmetic: a quarter of the bytes cross the bus.
    shares: torch.Tensor = pipe.image_processor.postprocess(image, output_type="pt")[0]
    return (shares.permute(1, 2, 0).float() * 255).round().to(torch.uint8).contiguous().cpu()


def notes_of(sample: Sample) -> dict[str, str]:
    """What provenance adds to the spec: on the same of these, a reproducible render is bit-equal."""
    model, order = sample.model, sample.order
    notes = {
        "bucket": str(model.bucket),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device_name(model.device),
        "threads": str(torch.get_num_threads()),
        "sampler": type(sample.sampler).__name__,
        "steps_done": str(sample.index),
        "versions": _versions(order.spec),
        **model.adapters.notes(order.spec),
        **model.speed_notes,
    }
    if order.stage is Stage.REFINE:
        notes["refiner_hash"] = model.hashes[Stage.REFINE]
    if Stage.BASE in model.hashes and first_stage(order.spec) is Stage.BASE:
        notes["model_hash"] = model.hashes[Stage.BASE]
    handover = order.handover
    if handover is not None:
        notes["model_hash"] = handover.header.get("model_hash", notes.get("model_hash", ""))
        notes["base_steps_done"] = handover.header.get("steps_done", "")
    return notes


def device_name(device: torch.device) -> str:
    """The device's name, and for a CPU the instruction set that torch uses on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return f"{device.type} {platform.machine()} {os.uname().sysname}"


def _versions(spec: RenderSpec) -> str:
    import diffusers
    import transformers

    import latentfarm

    parts = {
        "latentfarm": latentfarm.__version__,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    if spec.prompt_weighting is not None:
        parts[spec.prompt_weighting] = version(spec.prompt_weighting)
    return " ".join(f"{name}={version}" for name, version in parts.items())
