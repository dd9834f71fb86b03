"""The timetables in plain Python, held against the real samplers of diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import pytest

from latentfarm.noise import NoiseConfig, beta_quantile, sigma_table
from latentfarm.samplers import SAMPLERS, SPACINGS, SWITCHES
from latentfarm.timesteps import evaluations, schedule_of, timetable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SDXL: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
    "interpolation_type": "linear",
    "skip_prk_steps": True,
}
SPLITS = (0.25, 0.5, 0.8, 0.95)
SHORT = (7, 20)
LONG = tuple(range(1, 61))
DISCRETE = {name: row for name, row in SAMPLERS.items() if row.family == "discrete"}


def combinations() -> Iterator[tuple[str, str, str | None]]:
    for name, row in DISCRETE.items():
        for schedule in ("default", *row.sigma_schedules):
            for spacing in SPACINGS if row.spacing else (None,):
                yield name, schedule, spacing


def stock(name: str, schedule: str, spacing: str | None, config: dict[str, Any], **timetable: Any) -> Any:
    settings = {**SAMPLERS[name].config}
    if schedule != "default":
        settings[SWITCHES[schedule]] = True
    if spacing is not None:
        settings["timestep_spacing"] = spacing
    sampler = getattr(diffusers, SAMPLERS[name].cls).from_config(config, **settings)
    sampler.set_timesteps(**timetable)
    return sampler


def stock_split(sampler: Any, split: float) -> tuple[int, int]:
    """The filters of the two pipelines, as they are written there."""
    total = sampler.config.num_train_timesteps
    cutoff = round(total - split * total)
    base = len(list(filter(lambda ts: ts >= cutoff, sampler.timesteps)))
    refiner = (sampler.timesteps < cutoff).sum().item()
    if sampler.order == 2 and refiner % 2 == 0:
        refiner += 1
    return base, refiner


def on_the_cut(timesteps: Sequence[float], split: float) -> bool:
    """Whether a timestep is so near to the cut that float32 decides its side."""
    cutoff = round(1000 - split * 1000)
    return any(abs(timestep - cutoff) < 0.01 and timestep != cutoff for timestep in timesteps)


def compare(
    name: str, schedule: str, spacing: str | None, steps: Sequence[int], base: dict[str, Any] = SDXL
) -> tuple[int, list[str]]:
    """How many counts were compared, and those that differ."""
    config = NoiseConfig.read(base)
    assert config is not None
    compared, wrong = 0, []
    for count in steps:
        if count > SAMPLERS[name].max_steps:
            continue
        real = stock(name, schedule, spacing, base, num_inference_steps=count)
        for split in SPLITS:
            if on_the_cut(real.timesteps.tolist(), split):
                continue
            ours = evaluations(
                name, count, config=config, sigma_schedule=schedule, spacing=spacing, split=split
            )
            compared += 1
            if ours != stock_split(real, split):
                wrong.append(f"{count} steps at {split}: {ours} for {stock_split(real, split)}")
    return compared, wrong


@pytest.mark.parametrize(("name", "schedule", "spacing"), list(combinations()))
def test_counts_equal_stocks(name: str, schedule: str, spacing: str | None) -> None:
    compared, wrong = compare(name, schedule, spacing, SHORT)
    assert wrong == []
    assert compared > 0.75 * len(SPLITS) * len(SHORT)


@pytest.mark.parametrize(
    ("name", "schedule", "spacing"),
    [
        pytest.param(*one, marks=[] if number % 4 == 0 else [pytest.mark.long])
        for number, one in enumerate(combinations())
    ],
)
def test_counts_equal_stocks_where_no_signal_is_left(name: str, schedule: str, spacing: str | None) -> None:
    rescaled = {**SDXL, "rescale_betas_zero_snr": True}
    assert compare(name, schedule, spacing, SHORT, rescaled)[1] == []


@pytest.mark.long
@pytest.mark.parametrize(("name", "schedule", "spacing"), list(combinations()))
def test_counts_equal_stocks_for_all_steps(name: str, schedule: str, spacing: str | None) -> None:
    assert compare(name, schedule, spacing, LONG)[1] == []


@pytest.mark.parametrize("name", [name for name, row in SAMPLERS.items() if row.takes_timesteps])
def test_timesteps_of_ones_own(name: str) -> None:
    given = (999, 759, 499, 259, 19)
    real = stock(name, "default", None, SDXL, timesteps=list(given))
    config = NoiseConfig()
    assert timetable(name, 50, config=config, timesteps=given) == real.timesteps.tolist()
    assert evaluations(name, 50, config=config, timesteps=given, split=0.6) == stock_split(real, 0.6)


def test_sigmas_of_ones_own() -> None:
    given = (14.6, 6.3, 2.1, 0.7, 0.2, 0.0)
    real = stock("euler", "default", None, SDXL, sigmas=list(given))
    assert timetable("euler", 50, config=NoiseConfig(), sigmas=given) == pytest.approx(
        real.timesteps.tolist(), abs=0.01
    )


def test_pndm_with_its_long_start() -> None:
    config = NoiseConfig(skip_prk_steps=False)
    real = stock("pndm", "default", None, {**SDXL, "skip_prk_steps": False}, num_inference_steps=12)
    assert timetable("pndm", 12, config=config) == real.timesteps.tolist()
    with pytest.raises(ValueError, match="at least 4"):
        timetable("pndm", 3, config=config)


def test_a_split_can_leave_a_stage_nothing() -> None:
    config = NoiseConfig()
    assert evaluations("euler", 1, config=config, split=0.8) == (0, 1)
    assert evaluations("euler", 2, config=config, split=0.3)[0] == 0
    assert evaluations("ddim", 10, config=config, split=0.9995) == (10, 0)
    assert evaluations("euler", 25, config=config) == (25, 0)


def test_the_classs_own_spacing_is_taken_where_the_config_has_none() -> None:
    bare = {key: value for key, value in SDXL.items() if key != "timestep_spacing"}
    config = NoiseConfig.read(bare)
    assert config is not None
    for name in ("euler", "ddim", "heun", "dpmpp_2m", "unipc"):
        real = stock(name, "default", None, bare, num_inference_steps=10)
        assert timetable(name, 10, config=config) == pytest.approx(real.timesteps.tolist(), abs=0.01)


def test_rescaled_noise_levels_equal_stocks() -> None:
    config = NoiseConfig.read({**SDXL, "rescale_betas_zero_snr": True})
    assert config is not None
    real = stock(
        "euler", "default", "linspace", {**SDXL, "rescale_betas_zero_snr": True}, num_inference_steps=1000
    )
    assert sigma_table(config) == pytest.approx(real.sigmas.tolist()[-2::-1], rel=2e-3)
    assert max(sigma_table(config)) == pytest.approx(4096, rel=1e-3)


def test_a_sampler_follows_the_first_of_the_configs_schedules_that_it_takes() -> None:
    config = NoiseConfig.read({**SDXL, "use_lu_lambdas": True, "use_beta_sigmas": True})
    assert config is not None
    found = {name: schedule_of(SAMPLERS[name], config) for name in ("dpmpp_2m", "euler", "ddim")}
    assert found == {"dpmpp_2m": "beta", "euler": "beta", "ddim": "default"}
    lu = NoiseConfig.read({**SDXL, "use_lu_lambdas": True})
    assert lu is not None
    assert schedule_of(SAMPLERS["dpmpp_3m"], lu) == "lu"
    assert schedule_of(SAMPLERS["euler"], lu) == "default"


@pytest.mark.parametrize("name", [name for name, row in SAMPLERS.items() if row.family == "edm"])
def test_edm_has_no_timesteps(name: str) -> None:
    with pytest.raises(ValueError, match="EDM"):
        timetable(name, 10, config=NoiseConfig())


@pytest.mark.parametrize("setting", ["trained_betas", "use_flow_sigmas"])
def test_settings_that_are_not_followed_are_admitted(setting: str) -> None:
    assert NoiseConfig.read({**SDXL, setting: True}) is None


@pytest.mark.parametrize("probability", [0.0, 1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0])
def test_beta_quantiles_equal_scipys(probability: float) -> None:
    from scipy.stats import beta

    assert beta_quantile(probability) == pytest.approx(float(beta.ppf(probability, 0.6, 0.6)), abs=1e-9)
