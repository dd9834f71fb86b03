"""The table of samplers, held against the classes of diffusers."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import diffusers
import pytest

from latentfarm.samplers import SAMPLERS, SPACINGS, SWITCHES, schedule_settings


def class_of(name: str) -> Any:
    return getattr(diffusers, SAMPLERS[name].cls)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_row_says_what_the_class_takes(name: str) -> None:
    row, cls = SAMPLERS[name], class_of(name)
    settings = inspect.signature(cls.__init__).parameters
    timetable = inspect.signature(cls.set_timesteps).parameters
    step = inspect.signature(cls.step).parameters
    assert row.order == cls.order
    assert row.takes_timesteps == ("timesteps" in timetable)
    assert row.takes_eta == ("eta" in step)
    assert row.seeds_itself == ("noise_sampler_seed" in settings)
    assert row.takes_zero_snr == ("rescale_betas_zero_snr" in settings)
    assert (row.family == "edm") == ("sigma_data" in settings)
    if row.family == "edm":
        assert row.sigma_schedules == get_args(settings["sigma_schedule"].annotation)
    else:
        assert set(row.sigma_schedules) == {name for name, switch in SWITCHES.items() if switch in settings}
    assert set(row.config) <= set(settings)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_row_knows_the_classs_own_spacing(name: str) -> None:
    row, settings = SAMPLERS[name], inspect.signature(class_of(name).__init__).parameters
    if row.spacing is None:
        source = inspect.getsource(class_of(name).set_timesteps)
        assert "timestep_spacing" not in source
    else:
        assert row.spacing == settings["timestep_spacing"].default
        assert row.spacing in SPACINGS


@pytest.mark.parametrize("name", SAMPLERS)
def test_sigmas_are_taken_where_diffusers_takes_them(name: str) -> None:
    sampler = class_of(name)()
    if SAMPLERS[name].family == "edm":
        with pytest.raises((TypeError, AttributeError)):  # it says it takes them, and does not take a list
            sampler.set_timesteps(sigmas=[10.0, 3.0, 1.0, 0.0])
    elif SAMPLERS[name].takes_sigmas:
        sampler.set_timesteps(sigmas=[10.0, 3.0, 1.0, 0.0])
        assert len(sampler.timesteps) == 3
    else:
        with pytest.raises((TypeError, ValueError)):
            sampler.set_timesteps(sigmas=[10.0, 3.0, 1.0, 0.0])


@pytest.mark.parametrize("name", [name for name, row in SAMPLERS.items() if row.max_steps < 200])
def test_too_many_steps_are_too_many_for_the_class(name: str) -> None:
    most = SAMPLERS[name].max_steps
    class_of(name)().set_timesteps(most)
    with pytest.raises(ValueError, match="steps"):
        class_of(name)().set_timesteps(most + 1)


def test_labels_are_all_different() -> None:
    labels = [row.label for row in SAMPLERS.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [(name, schedule) for name, row in SAMPLERS.items() for schedule in row.sigma_schedules],
)
def test_each_schedule_has_noise_levels_of_its_own(name: str, schedule: str) -> None:
    row = SAMPLERS[name]
    found = []
    for wanted in ("default", *row.sigma_schedules):
        sampler = class_of(name)(**row.config, **schedule_settings(row, wanted))
        sampler.set_timesteps(9)
        found.append(tuple(round(float(sigma), 4) for sigma in sampler.sigmas))
    # EDM has no schedule without a name: its default is one of the two.
    same = {
        ("edm", "karras"): 2,
        ("discrete", "lu"): 2,
        ("discrete", "exponential"): 1 + ("lu" in row.sigma_schedules),
    }
    mine = found[1 + row.sigma_schedules.index(schedule)]
    assert found.count(mine) == same.get((row.family, schedule), 1)
