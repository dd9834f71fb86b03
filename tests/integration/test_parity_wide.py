"""The same promise over the whole parameter space: drawn sets, for models of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.equality.models import KINDS, write_models
from benchmarks.equality.sets import ParameterSet, Sets
from benchmarks.equality.space.whole import text_to_image
from latentfarm.registry import load_registry
from latentfarm.states import Stage
from tests.rig import Rig, largest_difference, stock_image, with_bucket
from worker.engine.model import LoadedModel, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.registry import Registry

TINY = Path(__file__).parents[2] / "models" / "tiny"
SEED, SETS, CHUNK = 20, 240, 12
FIRST = 2
"""Chunks that belong to the short run."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(write_models(tmp_path_factory.mktemp("models"), TINY))


@pytest.fixture(scope="module")
def sets(registry: Registry) -> list[ParameterSet]:
    return Sets(text_to_image(), registry, SEED).draw(SETS)


@pytest.fixture(scope="module")
def models(registry: Registry, tiny: LoadedModel) -> dict[str, LoadedModel]:
    """`tiny` is asked for because it settles the number of threads."""
    stages = [Stage.BASE, Stage.REFINE]
    return {name: with_bucket(load_model(registry.get(name), stages), 1) for name in KINDS}


@pytest.fixture(scope="module")
def alone(models: dict[str, LoadedModel]) -> Iterator[Rig]:
    with Rig(*models.values()) as rig:
        yield rig


@pytest.mark.parametrize(
    "chunk",
    [*range(FIRST), *(pytest.param(chunk, marks=pytest.mark.long) for chunk in range(FIRST, SETS // CHUNK))],
)
def test_drawn_sets_give_stocks_images(
    chunk: int, sets: list[ParameterSet], alone: Rig, models: dict[str, LoadedModel]
) -> None:
    wrong = {}
    for chosen in sets[chunk * CHUNK : (chunk + 1) * CHUNK]:
        spec, seed = chosen.spec, chosen.seed
        farm = alone.picture(alone.submit(spec, seed)).pixels
        difference = largest_difference(farm, stock_image(models[spec.model], spec, seed))
        if difference > 0:
            wrong[spec.model_dump_json(exclude_defaults=True)] = difference
    assert wrong == {}
