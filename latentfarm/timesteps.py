"""How many UNet evaluations a spec costs each stage, in plain Python.

The samplers of diffusers decide this; here their timetables are followed closely enough that the
API can refuse a split that leaves a stage no step before anything is stored. Where a timestep lies
within rounding of the cut the count may be off by one; the engine, which asks the real sampler,
refuses what slips through.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from latentfarm.noise import NoiseConfig, respace, sigma_at, sigma_table, timestep_of
from latentfarm.samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.samplers import Sampler

_SINGLE = {"dpmpp_single", "dpmpp_single_sde"}
_MULTI = {"dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m", "dpmpp_3m_sde", "unipc", "deis", "sa_solver"}
_WHOLE_TABLE = _SINGLE | _MULTI
"""These divide the schedule into one part more than they have steps, and take sigma schedules from
the whole table rather than from their own timesteps."""
_ROUNDED = {"ddim", "ddpm", "pndm"} | _WHOLE_TABLE
_ROUND_KARRAS = _WHOLE_TABLE | {"dpm2", "dpm2_ancestral"}


def evaluations(
    sampler: str,
    steps: int,
    *,
    config: NoiseConfig,
    sigma_schedule: str | None = None,
    spacing: str | None = None,
    timesteps: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
    split: float | None = None,
) -> tuple[int, int]:
    """UNet evaluations of the base and of the refiner.

    Args:
        sampler: a key of `SAMPLERS`.
        steps: `num_inference_steps`; not used with `timesteps` or `sigmas`.
        split: share of the schedule that the base denoises; None: all of it.

    Raises:
        ValueError: the sampler cannot make such a timetable.
    """
    table = timetable(
        sampler,
        steps,
        config=config,
        sigma_schedule=sigma_schedule,
        spacing=spacing,
        timesteps=timesteps,
        sigmas=sigmas,
    )
    return split_counts(sampler, table, config.train_timesteps, split)


def split_counts(sampler: str, table: Sequence[float], total: int, split: float | None) -> tuple[int, int]:
    """UNet evaluations of the base and of the refiner along a timetable.

    Args:
        table: as `timetable` gives it.
        total: training timesteps of the model.
        split: share of the schedule that the base denoises; None: all of it.
    """
    if split is None:
        return len(table), 0
    cutoff = round(total - split * total)
    base = sum(1 for timestep in table if timestep >= cutoff)
    refiner = sum(1 for timestep in table if timestep < cutoff)
    if SAMPLERS[sampler].order == 2 and refiner % 2 == 0:
        refiner += 1  # stock starts the refiner on a whole step, and does half of one twice
    return base, refiner


def after_strength(sampler: str, table: Sequence[float], steps: int, strength: float) -> Sequence[float]:
    """What image-to-image and inpainting leave of a timetable.

    Args:
        table: as `timetable` gives it.
        steps: what `strength` is a share of: `num_inference_steps`, or as many as the user's own schedule
            has evaluations.
    """
    left_out = steps - min(int(steps * strength), steps)
    return table[left_out * SAMPLERS[sampler].order :]


def timetable(
    sampler: str,
    steps: int,
    *,
    config: NoiseConfig,
    sigma_schedule: str | None = None,
    spacing: str | None = None,
    timesteps: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
) -> list[float]:
    """The timestep of each UNet evaluation, in order.

    Raises:
        ValueError: the sampler cannot make such a timetable.
    """
    row = SAMPLERS[sampler]
    if row.family == "edm":
        raise ValueError("EDM samplers have noise levels in place of timesteps")
    if config.zero_snr and not row.takes_zero_snr:
        config = replace(config, zero_snr=False)
    schedule = sigma_schedule or schedule_of(row, config)
    if sigmas is not None:
        table = sigma_table(config)
        return [timestep_of(table, sigma) for sigma in sigmas[:-1]]
    if sampler in ("lcm", "tcd"):
        return [float(t) for t in timesteps] if timesteps is not None else _distilled(steps, config)
    spaced = spacing or config.spacing or row.spacing or "linspace"
    if timesteps is not None:
        plain = [float(timestep) for timestep in timesteps]
    else:
        plain = _spaced(sampler, steps, config, spaced)
    if sampler == "pndm":
        return _pseudo(plain, steps, config)
    levels: list[float] = []
    if schedule != "default":
        plain, levels = _from_sigmas(sampler, schedule, plain, config)
    return _evaluated(sampler, plain, levels, config) if row.order == 2 else plain


def schedule_of(row: Sampler, config: NoiseConfig) -> str:
    """The sigma schedule that a sampler follows when the spec names none."""
    return next((name for name in config.sigma_schedules if name in row.sigma_schedules), "default")


def _spaced(sampler: str, steps: int, config: NoiseConfig, spacing: str) -> list[float]:
    """Falling timesteps, one per step."""
    total = config.train_timesteps
    extra = 1 if sampler in _WHOLE_TABLE else 0
    if sampler in _SINGLE or spacing == "linspace":
        step = (total - 1) / max(steps + extra - 1, 1)
        rising = [index * step for index in range(steps + extra)]
        whole = [float(round(t)) for t in rising] if sampler in _ROUNDED else [_float32(t) for t in rising]
        return whole[::-1][: len(whole) - extra]
    if spacing == "leading":
        stride = total // (steps + extra)
        rising = [float(index * stride) for index in range(steps + extra)]
        return [timestep + config.steps_offset for timestep in rising[::-1][: len(rising) - extra]]
    if spacing == "trailing":
        # As numpy.arange counts: rounding may give one entry more than there are steps.
        ratio = total / steps
        delta = (total - ratio) - total
        count = math.ceil(-total / -ratio)
        return [float(round(total + index * delta)) - 1 for index in range(count)]
    raise ValueError(f"unknown timestep spacing {spacing!r}")


def _from_sigmas(
    sampler: str, schedule: str, plain: list[float], config: NoiseConfig
) -> tuple[list[float], list[float]]:
    """Timesteps that follow a sigma schedule, and its noise levels."""
    table = sigma_table(config)
    if sampler in _WHOLE_TABLE:
        highest, lowest = table[-1], table[0]
    else:
        highest, lowest = sigma_at(table, plain[0]), sigma_at(table, plain[-1])
    levels = respace(schedule, highest, lowest, len(plain))
    found = [timestep_of(table, sigma) for sigma in levels]
    if schedule in ("karras", "lu") and sampler in _ROUND_KARRAS:
        found = [float(round(timestep)) for timestep in found]
    elif sampler in _WHOLE_TABLE:
        found = [float(math.floor(timestep)) for timestep in found]
    return found, levels


def _evaluated(sampler: str, plain: list[float], levels: list[float], config: NoiseConfig) -> list[float]:
    """Samplers of order 2 evaluate twice per step, but once in the last one."""
    if sampler == "heun":
        return plain[:1] + [timestep for timestep in plain[1:] for _ in range(2)]
    table = sigma_table(config)
    levels = levels or [sigma_at(table, timestep) for timestep in plain]
    if sampler == "dpm2_ancestral":  # its middle falls on the end of the step
        middles = levels[1:]
    else:
        middles = [math.sqrt(before * after) for before, after in itertools.pairwise(levels)]
    pairs = zip(middles, plain[1:], strict=True)
    return plain[:1] + [t for middle, after in pairs for t in (timestep_of(table, middle), after)]


def _pseudo(plain: list[float], steps: int, config: NoiseConfig) -> list[float]:
    """PNDM: the first steps cost several evaluations each, or the second one two."""
    rising = plain[::-1]
    if config.skip_prk_steps:
        return (rising[:-1] + rising[-2:-1] + rising[-1:])[::-1]
    if len(rising) < 4:
        raise ValueError("pndm needs at least 4 steps")
    half = config.train_timesteps // steps // 2
    pairs = [t + shift for t in rising[-4:] for shift in (0, half)]
    warm_up = [t for t in pairs[:-1] for _ in range(2)][1:-1]
    return warm_up[::-1] + rising[:-3][::-1]


def _distilled(steps: int, config: NoiseConfig) -> list[float]:
    """LCM and TCD pick from the steps that the model was distilled at."""
    count = config.original_inference_steps
    if steps > count:
        raise ValueError(f"at most {count} steps")
    stride = config.train_timesteps // count
    known = [index * stride - 1 for index in range(1, count + 1)][::-1]
    return [float(known[math.floor(index * (count / steps))]) for index in range(steps)]


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])
