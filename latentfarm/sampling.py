"""Whether a model's samplers can do what a spec asks, and leave every stage a step to take."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.facts import facts_of
from latentfarm.samplers import SAMPLERS, SIGMA_SCHEDULES, SPACINGS, Sampler
from latentfarm.timesteps import schedule_of, timetable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.noise import NoiseConfig
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec

_DIVIDING = {"DDIMScheduler", "DDPMScheduler", "LCMScheduler", "TCDScheduler"}
"""These hold the last signal at 0, where the others keep a trace of it."""


def check_sampling(spec: RenderSpec, entry: ModelEntry) -> None:
    """Checks sampler, schedule and split.

    Args:
        spec: with its defaults filled in.
        entry: of its model.

    Raises:
        InvalidInput: names the field and what is allowed.
    """
    _check_family(spec, entry)
    _check_sampler(spec)
    _check_schedule(spec, entry)
    _check_zero_snr(spec, entry)


def _row(spec: RenderSpec) -> Sampler:
    row = SAMPLERS.get(spec.sampler or "")
    if row is None:
        raise InvalidInput("sampler", f"no sampler {spec.sampler!r}", ", ".join(sorted(SAMPLERS)))
    return row


def _check_family(spec: RenderSpec, entry: ModelEntry) -> None:
    family, row = facts_of(entry).family, _row(spec)
    if row.family != family:
        fitting = ", ".join(sorted(key for key, other in SAMPLERS.items() if other.family == family))
        kind = "is of the EDM kind" if family == "edm" else "is not of the EDM kind"
        raise InvalidInput("sampler", f"model {entry.name} {kind}, {spec.sampler} does not fit", fitting)
    if family == "edm" and spec.refiner is not None and spec.refiner.mode == "ensemble":
        raise InvalidInput("refiner.mode", "an EDM sampler's schedule cannot be split", "image, only")


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
    return spec.sigma_schedule or (schedule_of(_row(spec), noise) if noise is not None else "default")


def _check_zero_snr(spec: RenderSpec, entry: ModelEntry) -> None:
    """Where no signal is left, a UNet that predicts noise cannot tell the picture: a division by zero."""
    row, noise = _row(spec), facts_of(entry).noise
    if spec.rescale_betas_zero_snr is not None and not row.takes_zero_snr:
        takers = ", ".join(sorted(key for key, other in SAMPLERS.items() if other.takes_zero_snr))
        raise InvalidInput("rescale_betas_zero_snr", f"{spec.sampler} does not take it", f"with {takers}")
    if (
        noise is None
        or noise.prediction != "epsilon"
        or row.cls not in _DIVIDING
        or not _zero_snr(spec, noise)
    ):
        return
    first = timetable_of(spec, entry, noise)[0]
    if first >= noise.train_timesteps - 1:
        raise InvalidInput(
            "rescale_betas_zero_snr",
            f"{spec.sampler} would begin where no signal is left, and {entry.name} predicts noise",
            "a schedule that begins below the last timestep, another sampler, or false",
        )


def _zero_snr(spec: RenderSpec, noise: NoiseConfig) -> bool:
    wanted = spec.rescale_betas_zero_snr
    return noise.zero_snr if wanted is None else wanted


def timetable_of(spec: RenderSpec, entry: ModelEntry, noise: NoiseConfig) -> list[float]:
    """The timestep of each UNet evaluation of a spec's whole schedule.

    Raises:
        InvalidInput: the sampler cannot make one.
    """
    try:
        return timetable(
            spec.sampler or entry.sampler,
            spec.num_inference_steps,
            config=replace(noise, zero_snr=_zero_snr(spec, noise)),
            sigma_schedule=spec.sigma_schedule,
            spacing=spec.timestep_spacing,
            timesteps=spec.timesteps,
            sigmas=spec.sigmas,
        )
    except ValueError as error:
        raise InvalidInput("num_inference_steps", f"{spec.sampler}: {error}") from error
