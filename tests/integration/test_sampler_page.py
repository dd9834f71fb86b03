"""docs/samplers.md holds what stock's loops count now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.equality.calls import Counting
from benchmarks.samplers import PAGE, SPLITS, STEPS, Counts, combinations, count, tables, with_tables
from latentfarm.noise import NoiseConfig
from latentfarm.samplers import SAMPLERS
from latentfarm.timesteps import evaluations

if TYPE_CHECKING:
    from worker.engine.model import LoadedModel


@pytest.fixture(scope="module")
def short(tiny: LoadedModel) -> Counts:
    return count(tiny, STEPS[:1])


@pytest.fixture(scope="module")
def counts(tiny: LoadedModel) -> Counts:
    return count(tiny)


@pytest.mark.long
def test_the_page_has_the_table_of_few_steps(short: Counts) -> None:
    takes, evaluations = tables(short).split("\n\n", 1)
    page = PAGE.read_text()
    assert takes in page, "python -m benchmarks samplers --write"
    assert evaluations in page, "python -m benchmarks samplers --write"


@pytest.mark.long
def test_the_page_is_what_the_code_prints(counts: Counts) -> None:
    page = PAGE.read_text()
    assert with_tables(page, tables(counts)) == page, "python -m benchmarks samplers --write"


@pytest.mark.long
def test_the_farm_counts_as_stock_does(counts: Counts) -> None:
    assert_equal(counts)


@pytest.mark.long
def test_the_farm_counts_few_steps_as_stock_does(short: Counts) -> None:
    assert_equal(short)


def assert_equal(counts: Counts) -> None:
    """The farm's own counts decide which splits are refused."""
    config = NoiseConfig()
    for (name, schedule, steps), found in counts.items():
        for split, pair in zip(SPLITS, found, strict=True):
            ours = evaluations(name, steps, config=config, sigma_schedule=schedule, split=split)
            assert ours == pair, (name, schedule, steps, split)


@pytest.mark.long
def test_every_sampler_is_in_the_tables(short: Counts) -> None:
    text = tables(short)
    assert all(f"`{name}`" in text for name in SAMPLERS)
    assert {name for name, _ in combinations()} == {
        name for name, row in SAMPLERS.items() if row.family == "discrete"
    }


def test_counting_leaves_the_networks_as_they_were(tiny: LoadedModel) -> None:
    counting = Counting(tiny)
    assert counting.calls("heun", "default", 7, 0.5) == counting.calls("heun", "default", 7, 0.5)
    assert all("forward" not in vars(pipeline.unet) for pipeline in tiny.pipelines.values())
