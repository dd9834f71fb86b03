"""The noise levels of a diffusion schedule, in plain Python: what diffusers computes with numpy and scipy.

Only so can the API, which has neither, know how many steps a split leaves to each stage. Floats
are doubles here; diffusers mixes float32 in, so values agree to about six digits.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from latentfarm.samplers import SWITCHES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Settings that change timesteps in ways this module does not follow.
_UNFOLLOWED = ("trained_betas", "use_flow_sigmas", "use_dynamic_shifting")
_LAST_SIGNAL = 2.0**-24
"""What diffusers leaves of the signal where it was rescaled to zero: no noise level may be infinite."""


@dataclass(frozen=True, slots=True)
class NoiseConfig:
    """What a model's `scheduler_config.json` says about its noise. The defaults are SDXL's.

    Attributes:
        spacing: `timestep_spacing`; None: each sampler class has its own default.
        sigma_schedules: those that the config asks for; a sampler follows the first that it takes.
        zero_snr: the betas are rescaled so that the last timestep holds no signal.
        prediction: what the UNet predicts: `epsilon` or `v_prediction`.
    """

    train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    steps_offset: int = 1
    spacing: str | None = "leading"
    sigma_schedules: tuple[str, ...] = ()
    skip_prk_steps: bool = False
    original_inference_steps: int = 50
    zero_snr: bool = False
    prediction: str = "epsilon"

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> NoiseConfig | None:
        """From a scheduler config; None if it has settings that are not followed here."""
        if any(config.get(name) for name in _UNFOLLOWED) or config.get("timestep_type") == "continuous":
            return None
        return cls(
            train_timesteps=config.get("num_train_timesteps", 1000),
            beta_start=config.get("beta_start", 0.0001),
            beta_end=config.get("beta_end", 0.02),
            beta_schedule=config.get("beta_schedule", "linear"),
            steps_offset=config.get("steps_offset", 0),
            spacing=config.get("timestep_spacing"),
            sigma_schedules=tuple(name for name, switch in SWITCHES.items() if config.get(switch)),
            skip_prk_steps=bool(config.get("skip_prk_steps")),
            original_inference_steps=config.get("original_inference_steps", 50),
            zero_snr=bool(config.get("rescale_betas_zero_snr")),
            prediction=config.get("prediction_type", "epsilon"),
        )


@lru_cache(maxsize=16)
def sigma_table(config: NoiseConfig) -> tuple[float, ...]:
    """Noise level at each training timestep, rising.

    Raises:
        ValueError: a beta schedule that SDXL models do not have.
    """
    total, start, end = config.train_timesteps, config.beta_start, config.beta_end
    steps = [index / max(total - 1, 1) for index in range(total)]
    if config.beta_schedule == "scaled_linear":
        betas = [(math.sqrt(start) + (math.sqrt(end) - math.sqrt(start)) * step) ** 2 for step in steps]
    elif config.beta_schedule == "linear":
        betas = [start + (end - start) * step for step in steps]
    else:
        raise ValueError(f"beta schedule {config.beta_schedule!r} is not known here")
    kept, signal = 1.0, []
    for beta in betas:
        kept *= 1 - beta
        signal.append(kept)
    if config.zero_snr:
        signal = _down_to_zero(signal)
    return tuple(math.sqrt((1 - left) / left) for left in signal)


def _down_to_zero(signal: list[float]) -> list[float]:
    """Shares of signal, shifted and scaled so that the first stays and the last is nearly nothing."""
    first, last = math.sqrt(signal[0]), math.sqrt(signal[-1])
    scaled = [((math.sqrt(left) - last) * first / (first - last)) ** 2 for left in signal]
    return [*scaled[:-1], _LAST_SIGNAL]


def sigma_at(table: Sequence[float], timestep: float) -> float:
    """Noise level between training timesteps, by linear interpolation."""
    low = min(max(math.floor(timestep), 0), len(table) - 1)
    high = min(low + 1, len(table) - 1)
    share = min(max(timestep - low, 0.0), 1.0)
    return table[low] + (table[high] - table[low]) * share


def timestep_of(table: Sequence[float], sigma: float) -> float:
    """The training timestep, between two where need be, that has this noise level."""
    low = min(max(bisect_right(table, max(sigma, 1e-10)) - 1, 0), len(table) - 2)
    log_low, log_high = math.log(table[low]), math.log(table[low + 1])
    share = (log_low - math.log(max(sigma, 1e-10))) / (log_low - log_high)
    return low + min(max(share, 0.0), 1.0)


def respace(schedule: str, highest: float, lowest: float, count: int) -> list[float]:
    """`count` falling noise levels from `highest` to `lowest`.

    Raises:
        ValueError: an unknown schedule.
    """
    ramp = [index / max(count - 1, 1) for index in range(count)]
    if schedule == "karras":
        first, last = highest ** (1 / 7), lowest ** (1 / 7)
        return [(first + share * (last - first)) ** 7 for share in ramp]
    if schedule in ("exponential", "lu"):
        first, last = math.log(highest), math.log(lowest)
        return [math.exp(first + share * (last - first)) for share in ramp]
    if schedule == "beta":
        return [lowest + beta_quantile(1 - share) * (highest - lowest) for share in ramp]
    raise ValueError(f"unknown sigma schedule {schedule!r}")


@lru_cache(maxsize=4096)
def beta_quantile(probability: float) -> float:
    """Quantile of the beta distribution with both parameters 0.6, by bisection."""
    if probability <= 0 or probability >= 1:
        return min(max(probability, 0.0), 1.0)
    if probability > 0.5:
        return 1 - beta_quantile(1 - probability)
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_share(middle) < probability else (low, middle)
    return (low + high) / 2


def _beta_share(x: float) -> float:
    """Regularised incomplete beta function, both parameters 0.6, for x up to 0.5: its power series."""
    a, term, total = 0.6, 1.0, 0.0
    for n in range(200):
        total += term / (a + n)
        term *= (n + 1 - a) / (n + 1) * x
        if term < 1e-17:
            break
    return float(total * x**a / (math.gamma(a) ** 2 / math.gamma(2 * a)))
