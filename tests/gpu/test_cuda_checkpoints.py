"""Half-done renders on a CUDA device: what samplers keep there and what they keep on the CPU comes back where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latentfarm.registry import ModelEntry, load_registry
from latentfarm.samplers import SAMPLERS
from latentfarm.states import Stage
from tests.integration.test_engine_checkpoints import MODES, spec_of
from tests.integration.test_engine_modes import ENSEMBLE, pictures
from tests.interrupting import order_of, run_both, same
from worker.engine.model import LoadedModel, load_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
EVERY = range(1, 100)


@pytest.fixture(scope="module")
def entry() -> ModelEntry:
    return load_registry(Path(__file__).parents[2] / "models" / "models.toml").get("tiny")


@pytest.fixture(scope="module", params=["float32", "float16"])
def tiny(entry: ModelEntry, request: pytest.FixtureRequest) -> LoadedModel:
    return load_model(entry, [Stage.BASE, Stage.REFINE], "cuda", dtype=request.param)


@pytest.mark.parametrize("name", [name for name, row in SAMPLERS.items() if row.family == "discrete"])
def test_every_sampler_goes_on_from_every_step(name: str, tiny: LoadedModel, entry: ModelEntry) -> None:
    order = order_of(spec_of(entry, name, **ENSEMBLE), 5)
    assert same(run_both(order, tiny), run_both(order, tiny, EVERY))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_goes_on_from_every_step(mode: str, tiny: LoadedModel, entry: ModelEntry) -> None:
    fields = MODES[mode]
    order = order_of(spec_of(entry, "euler_ancestral", **fields), 5, pictures(5, fields))
    assert same(run_both(order, tiny), run_both(order, tiny, EVERY))
