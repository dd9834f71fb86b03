"""Any sequence of events, with processes that die at any call to the outside, against a model in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis.stateful import run_state_machine_as_test

from latentfarm.registry import load_registry
from tests.conftest import ROOT
from tests.integration.life.machine import Life

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.mark.parametrize(
    ("runs", "steps"), [(20, 40), pytest.param(2000, 50, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_rows_follow_the_model_whatever_happens(
    repository: Repository, settings: Settings, runs: int, steps: int
) -> None:
    known = {"engine": repository.engine, "settings": settings}
    registry = load_registry(ROOT / "models" / "models.toml")
    machine = type("OneFarm", (Life,), {**known, "registry": registry})
    run_state_machine_as_test(
        machine,
        settings=profile(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            # The same runs each time: a failure is a change of the code, not of luck.
            derandomize=True,
            phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if steps > 40 else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )
