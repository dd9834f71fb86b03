"""Fixtures that need the tiny model's files, but no service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from latentfarm.registry import ModelEntry, load_registry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from worker.engine.model import LoadedModel, load_model

if TYPE_CHECKING:
    from tests.rig import MakeSpec


@pytest.fixture(scope="session")
def tiny_entry() -> ModelEntry:
    return load_registry(Path(__file__).parents[2] / "models" / "models.toml").get("tiny")


@pytest.fixture(scope="session")
def make(tiny_entry: ModelEntry) -> MakeSpec:
    """Specs that are complete and cheap unless the test says otherwise."""

    def make(**fields: object) -> RenderSpec:
        given = {"prompt": "a red circle", "num_inference_steps": 5, "width": 64, "height": 64, **fields}
        return complete(RenderSpec.model_validate(given), tiny_entry)

    return make


@pytest.fixture(scope="session")
def tiny(tiny_entry: ModelEntry) -> LoadedModel:
    """Base and refiner on the CPU in float32, on one thread: the thread count changes bits."""
    torch.set_num_threads(1)
    return load_model(tiny_entry, [Stage.BASE, Stage.REFINE])
