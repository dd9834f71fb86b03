"""Whether a spec fits a model, before anything is stored; and the defaults that the model decides."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.facts import facts_of
from latentfarm.samplers import SAMPLERS, SIGMA_SCHEDULES, SPACINGS, Sampler
from latentfarm.timesteps import evaluations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec

JPEG_PROMPT_CHARS = 3_500
"""Of all prompts together: a JPEG's EXIF holds 64 KiB, and the provenance must fit."""
_PROMPTS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")


def complete(spec: RenderSpec, entry: ModelEntry) -> RenderSpec:
    """The spec with every default that depends on the model filled in.

    Args:
        spec: as the user sent it.
        entry: of the model that it names.

    Raises:
        NotSupported: a field whose feature is not built yet.
        InvalidInput: a value, or a combination, that this model or sampler cannot do; names the
            field and what is allowed.
    """
    _refuse_unbuilt(spec)
    _check_texts(spec)
    if spec.num_images > entry.max_images:
        raise InvalidInput("num_images", f"{spec.num_images} images in one job", f"1 to {entry.max_images}")
    filled = _fill(spec, entry)
    _check_size(filled, entry)
    _check_sampler(filled)
    _check_schedule(filled, entry)
    _check_clip_skip(filled, entry)
    _check_stages(filled, entry)
    return filled


def _refuse_unbuilt(spec: RenderSpec) -> None:
    for field in ("image", "mask_image", "strength", "padding_mask_crop", "webhook"):
        if getattr(spec, field) is not None:
            raise NotSupported(field, "is not built yet", "leave it out")
    for field in ("loras", "embeddings"):
        if getattr(spec, field):
            raise NotSupported(field, "is not built yet", "leave it out")
    if spec.refiner is not None and spec.refiner.mode != "ensemble":
        raise NotSupported("refiner.mode", f"{spec.refiner.mode!r} is not built yet", "ensemble")
    if spec.refiner is not None and spec.refiner.strength is not None:
        raise NotSupported("refiner.strength", "belongs to mode `image`, which is not built yet")
    if spec.output.format == "png" and spec.output.quality is not None:
        raise NotSupported("output.quality", "a PNG has no quality", "leave it out")


def _check_texts(spec: RenderSpec) -> None:
    texts = {field: getattr(spec, field) or "" for field in _PROMPTS}
    for field, text in texts.items():
        if "\0" in text:
            raise InvalidInput(field, "holds a NUL character")
    together = sum(len(text) for text in texts.values())
    if spec.output.format == "jpeg" and together > JPEG_PROMPT_CHARS:
        raise InvalidInput(
            "output.format",
            f"a JPEG has no room for the provenance of {together} characters of prompts",
            f"jpeg up to {JPEG_PROMPT_CHARS} characters; png, webp",
        )


def _fill(spec: RenderSpec, entry: ModelEntry) -> RenderSpec:
    height, width = entry.native_size
    refiner = spec.refiner
    if refiner is not None:
        refiner = refiner.model_copy(
            update={
                "num_inference_steps": refiner.num_inference_steps or spec.num_inference_steps,
                "guidance_scale": spec.guidance_scale
                if refiner.guidance_scale is None
                else refiner.guidance_scale,
            }
        )
    return spec.model_copy(
        update={
            "height": spec.height or height,
            "width": spec.width or width,
            "sampler": spec.sampler or entry.sampler,
            "refiner": refiner,
        }
    )


def _check_size(spec: RenderSpec, entry: ModelEntry) -> None:
    allowed = f"{entry.min_size} to {entry.max_size}, in steps of 8"
    for field in ("height", "width"):
        value = getattr(spec, field)
        if not entry.min_size <= value <= entry.max_size or value % 8:
            raise InvalidInput(field, f"{value} pixels do not fit model {entry.name}", allowed)


def _row(spec: RenderSpec) -> Sampler:
    row = SAMPLERS.get(spec.sampler or "")
    if row is None:
        raise InvalidInput("sampler", f"no sampler {spec.sampler!r}", ", ".join(sorted(SAMPLERS)))
    return row


def _check_sampler(spec: RenderSpec) -> None:
    row, name = _row(spec), spec.sampler
    schedules = ("default", *row.sigma_schedules)
    if spec.sigma_schedule is not None and spec.sigma_schedule not in schedules:
        known = spec.sigma_schedule in SIGMA_SCHEDULES
        message = f"{name} does not take {spec.sigma_schedule!r}" if known else "no such schedule"
        raise InvalidInput("sigma_schedule", message, ", ".join(schedules))
    if spec.timestep_spacing is not None:
        if spec.timestep_spacing not in SPACINGS:
            raise InvalidInput("timestep_spacing", "no such spacing", ", ".join(SPACINGS))
        if row.spacing is None:
            raise InvalidInput("timestep_spacing", f"{name} has a spacing of its own", "leave it out")
    if spec.eta and not row.takes_eta:
        takers = ", ".join(sorted(key for key, other in SAMPLERS.items() if other.takes_eta))
        raise InvalidInput("eta", f"{name} takes no eta", f"0, or a sampler of: {takers}")
    if spec.num_inference_steps > row.max_steps:
        raise InvalidInput("num_inference_steps", f"too many for {name}", f"1 to {row.max_steps}")


def _check_schedule(spec: RenderSpec, entry: ModelEntry) -> None:
    """Timetables of the user's own."""
    row = _row(spec)
    if spec.timesteps is not None and spec.sigmas is not None:
        raise InvalidInput("sigmas", "timesteps and sigmas exclude each other", "one of them")
    takes = {"timesteps": row.takes_timesteps, "sigmas": row.takes_sigmas}
    shortest = {"timesteps": 1, "sigmas": 2}
    for field, taken in takes.items():
        values: Sequence[float] | None = getattr(spec, field)
        if values is None:
            continue
        if not taken:
            takers = [key for key in sorted(SAMPLERS) if getattr(SAMPLERS[key], f"takes_{field}")]
            raise InvalidInput(field, f"{spec.sampler} does not take them", f"with {', '.join(takers)}")
        if len(values) < shortest[field]:
            raise InvalidInput(field, "too few values", f"at least {shortest[field]}")
        if any(after >= before for before, after in itertools.pairwise(values)):
            raise InvalidInput(field, "the values do not fall", "each below the one before")
        if field == "timesteps" and values[0] >= entry.train_timesteps:
            raise InvalidInput(field, f"{values[0]} is too high", f"below {entry.train_timesteps}")
        if _sigma_schedule(spec, entry) != "default":
            raise InvalidInput("sigma_schedule", f"{field} already are a schedule", "default")


def _sigma_schedule(spec: RenderSpec, entry: ModelEntry) -> str:
    noise = facts_of(entry).noise
    own = noise.sigma_schedule if noise is not None and _row(spec).sigma_schedules else "default"
    return spec.sigma_schedule or own


def _check_clip_skip(spec: RenderSpec, entry: ModelEntry) -> None:
    layers = facts_of(entry).encoder_layers
    if spec.clip_skip is not None and layers is not None and spec.clip_skip > layers - 1:
        raise InvalidInput("clip_skip", f"the encoders have {layers} layers", f"0 to {layers - 1}")


def _check_stages(spec: RenderSpec, entry: ModelEntry) -> None:
    """Every stage must have a step to take."""
    refiner = spec.refiner
    if refiner is not None and entry.refiner is None:
        raise InvalidInput("refiner", f"model {entry.name} has no refiner", "null")
    if refiner is not None and refiner.num_inference_steps != spec.num_inference_steps:
        raise InvalidInput(
            "refiner.num_inference_steps",
            "both stages of an ensemble share one schedule",
            f"{spec.num_inference_steps}, as num_inference_steps",
        )
    noise = facts_of(entry).noise
    if noise is None:
        return  # the engine asks the real sampler, and refuses what slips through
    try:
        base, refined = evaluations(
            spec.sampler or entry.sampler,
            spec.num_inference_steps,
            config=noise,
            sigma_schedule=spec.sigma_schedule,
            spacing=spec.timestep_spacing,
            timesteps=spec.timesteps,
            sigmas=spec.sigmas,
            split=refiner.high_noise_frac if refiner else None,
        )
    except ValueError as error:
        raise InvalidInput("num_inference_steps", f"{spec.sampler}: {error}") from error
    if base == 0 or (refiner is not None and refined == 0):
        stage = "base" if base == 0 else "refiner"
        raise InvalidInput(
            "refiner.high_noise_frac", f"leaves the {stage} no step", "a split that both stages share"
        )
