"""The same promise over the whole parameter space: drawn sets in every mode, for models of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.equality.models import KINDS, write_models
from benchmarks.equality.pictures import inputs_of
from benchmarks.equality.sets import ParameterSet, Sets
from benchmarks.equality.space.whole import space
from benchmarks.equality.stock import Stock
from benchmarks.equality.weights import write_weights
from latentfarm.registry import load_registry
from latentfarm.states import Stage
from tests.rig import Rig, largest_difference, with_bucket
from worker.engine.model import LoadedModel, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.registry import Registry

TINY = Path(__file__).parents[2] / "models" / "tiny"
SEED, SETS, CHUNK = 20, 240, 6
FIRST = 1
"""Chunks that belong to the short run."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("models")
    path = write_models(folder, TINY)
    write_weights(folder, TINY)
    return load_registry(path)


class Drawn:
    """Sets in the order in which they are drawn; no more of them than are asked for, since to draw takes its time."""

    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._known: list[ParameterSet] = []

    def chunk(self, number: int) -> list[tuple[int, ParameterSet]]:
        until = (number + 1) * CHUNK
        self._known += self._sets.draw(max(0, until - len(self._known)))
        return list(enumerate(self._known))[number * CHUNK : until]


@pytest.fixture(scope="module")
def drawn(registry: Registry) -> Drawn:
    return Drawn(Sets(space(), registry, SEED))


@pytest.fixture(scope="module")
def models(registry: Registry, tiny: LoadedModel) -> dict[str, LoadedModel]:
    """`tiny` is asked for because it settles the number of threads."""
    stages = [Stage.BASE, Stage.REFINE]
    return {name: with_bucket(load_model(registry.get(name), stages), 1) for name in KINDS}


@pytest.fixture(scope="module")
def alone(models: dict[str, LoadedModel]) -> Iterator[Rig]:
    with Rig(*models.values()) as rig:
        yield rig


@pytest.fixture(scope="module")
def stock(registry: Registry) -> Stock:
    return Stock(registry)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize(
    "chunk",
    [*range(FIRST), *(pytest.param(chunk, marks=pytest.mark.long) for chunk in range(FIRST, SETS // CHUNK))],
)
def test_drawn_sets_give_stocks_images(chunk: int, drawn: Drawn, alone: Rig, stock: Stock) -> None:
    wrong = {}
    for number, chosen in drawn.chunk(chunk):
        order = alone.submit(chosen.spec, chosen.seed, inputs=inputs_of(chosen.given))
        farm = alone.picture(order).pixels
        difference = largest_difference(farm, stock.picture(chosen.given, chosen.seed))
        if difference > 0:
            wrong[number, str(chosen.levels)] = difference
    assert wrong == {}
