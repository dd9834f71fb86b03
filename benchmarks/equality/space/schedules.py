"""Timetables: how many steps, where they lie, and what noise they add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Fields, Level, both, if_sampler
from benchmarks.equality.space.levels import between, fixed, whole
from latentfarm.samplers import SPACINGS, SWITCHES

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

STEPS = 7
"""Of a set that does not say how many."""


def steps() -> Dimension:
    """Their number, or a schedule of one's own."""
    return Dimension(
        "steps",
        {
            PLAIN: fixed(num_inference_steps=STEPS),
            "few": whole("num_inference_steps", 1, 5),
            "some": whole("num_inference_steps", 8, 12),
            "many": whole("num_inference_steps", 15, 22),
            "timesteps": Level(_own_steps, both(_unnamed, if_sampler(lambda row: row.takes_timesteps))),
            "sigmas": Level(_own_sigmas, both(_unnamed, if_sampler(lambda row: row.takes_sigmas))),
        },
    )


def schedules() -> list[Dimension]:
    """Where the steps lie."""
    zero = if_sampler(lambda row: row.takes_zero_snr)
    named = {PLAIN: Level(), **{name: _schedule(name) for name in ("default", *SWITCHES)}}
    return [
        Dimension("sigma_schedule", named),
        Dimension("timestep_spacing", {PLAIN: Level(), **{name: _spacing(name) for name in SPACINGS}}),
        Dimension(
            "zero_snr",
            {
                PLAIN: Level(),
                "on": Level(fixed(rescale_betas_zero_snr=True).draw, zero),
                "off": Level(fixed(rescale_betas_zero_snr=False).draw, zero),
            },
        ),
        Dimension(
            "eta",
            {
                PLAIN: Level(),
                "some": Level(between("eta", 0.05, 1).draw, if_sampler(lambda row: row.takes_eta)),
            },
        ),
    ]


def _schedule(name: str) -> Level:
    taken = if_sampler(lambda row: name == "default" or name in row.sigma_schedules)
    plain = both(taken, _no_schedule_of_ones_own) if name != "default" else taken
    return Level(fixed(sigma_schedule=name).draw, plain)


def _spacing(name: str) -> Level:
    return Level(fixed(timestep_spacing=name).draw, if_sampler(lambda row: row.spacing))


def _own_steps(rng: random.Random) -> Fields:
    return {"timesteps": sorted(rng.sample(range(1, 1000), rng.randint(2, 9)), reverse=True)}


def _own_sigmas(rng: random.Random) -> Fields:
    levels = sorted((round(rng.uniform(0.05, 14.5), 3) for _ in range(rng.randint(2, 9))), reverse=True)
    return {"sigmas": [*levels, 0.0]}


def _no_schedule_of_ones_own(chosen: Mapping[str, str]) -> bool:
    return chosen.get("steps", PLAIN) not in ("timesteps", "sigmas")


def _unnamed(chosen: Mapping[str, str]) -> bool:
    return chosen.get("sigma_schedule", PLAIN) in (PLAIN, "default")
