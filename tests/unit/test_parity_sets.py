"""The sets that the parity benchmark draws: every pair of levels that can be, from one seed."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.equality.covering import Covering
from benchmarks.equality.dimension import PLAIN, Dimension, Level
from benchmarks.equality.models import KINDS, write_models
from benchmarks.equality.sets import ParameterSet, Sets
from benchmarks.equality.space.whole import text_to_image
from latentfarm.registry import load_registry
from latentfarm.samplers import SAMPLERS
from latentfarm.spec import JOB_FIELDS, RefinerSpec, RenderSpec

if TYPE_CHECKING:
    from latentfarm.registry import Registry

TINY = Path(__file__).parents[2] / "models" / "tiny"
SETS = 250
#: Not of text-to-image, or nothing that a picture shows.
ELSEWHERE = {
    *JOB_FIELDS,
    *("image", "mask_image", "strength", "padding_mask_crop", "loras", "embeddings"),
    *("output", "reproducible", "mode"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(write_models(tmp_path_factory.mktemp("models"), TINY))


@pytest.fixture(scope="module")
def drawn(registry: Registry) -> tuple[Covering, list[ParameterSet]]:
    sets = Sets(text_to_image(), registry, 1)
    return sets.covering, sets.draw(SETS)


def test_every_pair_that_can_be_is_in_some_set(drawn: tuple[Covering, list[ParameterSet]]) -> None:
    covering, sets = drawn
    assert covering.open == set()
    found = {frozenset(pair) for chosen in sets for pair in itertools.combinations(chosen.levels.items(), 2)}
    every = {
        frozenset(pair)
        for one, other in itertools.combinations(text_to_image(), 2)
        for pair in itertools.product(
            ((one.name, level) for level in one.levels), ((other.name, level) for level in other.levels)
        )
    }
    assert every - found == covering.impossible


def test_only_what_a_sampler_or_a_stage_excludes_cannot_be(
    drawn: tuple[Covering, list[ParameterSet]],
) -> None:
    """Each such pair has the model or the sampler in it, or the refiner, or a schedule of one's own."""
    reasons = {"model", "sampler", "refiner", "steps", "eta"}
    impossible = drawn[0].impossible
    for pair in impossible:
        assert {name for name, _ in pair} & reasons, sorted(pair)
    without = [pair for pair in impossible if not {name for name, _ in pair} & {"model", "sampler"}]
    assert len(without) < 20


def test_one_seed_gives_the_same_sets(registry: Registry) -> None:
    first, again, other = (Sets(text_to_image(), registry, seed).draw(5) for seed in (3, 3, 4))
    assert [(one.spec, one.seed) for one in first] == [(one.spec, one.seed) for one in again]
    assert [one.spec for one in first] != [one.spec for one in other]


def test_the_space_has_every_field_of_a_spec() -> None:
    """A new field must become a dimension, or be named here."""
    rng = random.Random(0)
    fields = {
        field
        for dimension in text_to_image()
        for level in dimension.levels.values()
        for field in level.draw(rng)
    }
    assert set(RenderSpec.model_fields) - ELSEWHERE - {"refiner"} == {
        field for field in fields if not field.startswith("refiner.")
    }
    of_refiner = {field.removeprefix("refiner.") for field in fields if field.startswith("refiner.")}
    assert {"high_noise_frac", "guidance_scale", "aesthetic_score", "negative_aesthetic_score"} <= of_refiner
    assert of_refiner <= set(RefinerSpec.model_fields)


def test_every_sampler_and_kind_of_model_is_in_the_space() -> None:
    model, sampler = text_to_image()[:2]
    assert set(sampler.levels) == set(SAMPLERS)
    assert set(model.levels) == set(KINDS)


def test_what_cannot_stand_together_is_told_apart_from_what_is_missing() -> None:
    never = Level(fits=lambda chosen: chosen.get("b") != "y")
    space = [
        Dimension("a", {PLAIN: Level(), "x": never}),
        Dimension("b", {PLAIN: Level(), "y": Level()}),
        Dimension("c", {PLAIN: Level(), "z": Level()}),
    ]
    covering = Covering(space, random.Random(0))
    for _ in range(6):
        covering.take(covering.next())
    assert covering.open == set()
    assert covering.impossible == {frozenset({("a", "x"), ("b", "y")})}
