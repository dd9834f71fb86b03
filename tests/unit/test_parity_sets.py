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
from benchmarks.equality.space.whole import space
from latentfarm.registry import load_registry
from latentfarm.samplers import SAMPLERS
from latentfarm.spec import JOB_FIELDS, RefinerSpec, RenderSpec

if TYPE_CHECKING:
    from latentfarm.registry import Registry

pytestmark = pytest.mark.long

TINY = Path(__file__).parents[2] / "models" / "tiny"
SETS = 250
#: What no picture shows, or shows in its file alone; weights in prompts have sets of their own.
NOT_OF_THE_PICTURE = {*JOB_FIELDS, "reproducible", "output", "prompt_weighting"}

_OF_REFINER = {"refiner_steps", "refiner_guidance", "aesthetic_score", "negative_aesthetic_score", "loras"}
#: Dimensions that have levels which cannot stand beside some of the others'.
EXCLUDE = {
    "mode": {"picture", "mask", "strength", "padding_mask_crop"},
    "refiner": {*_OF_REFINER, "mode", "mask", "padding_mask_crop", "strength"},
    "padding_mask_crop": _OF_REFINER,
    "refiner_steps": {"steps"},
    "steps": {"sigma_schedule"},
    "eta": {"steps", "sigma_schedule"},
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(write_models(tmp_path_factory.mktemp("models"), TINY))


@pytest.fixture(scope="module")
def drawn(registry: Registry) -> tuple[Covering, list[ParameterSet]]:
    sets = Sets(space(), registry, 1)
    return sets.covering, sets.draw(SETS)


def test_every_pair_that_can_be_is_in_some_set(drawn: tuple[Covering, list[ParameterSet]]) -> None:
    covering, sets = drawn
    assert covering.open == set()
    found = {frozenset(pair) for chosen in sets for pair in itertools.combinations(chosen.levels.items(), 2)}
    every = {
        frozenset(pair)
        for one, other in itertools.combinations(space(), 2)
        for pair in itertools.product(
            ((one.name, level) for level in one.levels), ((other.name, level) for level in other.levels)
        )
    }
    assert every - found == covering.impossible


def test_only_what_excludes_each_other_cannot_be(drawn: tuple[Covering, list[ParameterSet]]) -> None:
    """Models and samplers exclude what they do not take; for every other pair there is a rule."""
    pairs = [{name for name, _ in pair} for pair in drawn[0].impossible]
    without_reason = [
        sorted(pair)
        for pair in pairs
        if not pair & {"model", "sampler"}
        and not any(one in pair and pair - {one} <= others for one, others in EXCLUDE.items())
    ]
    assert without_reason == []


def test_one_seed_gives_the_same_sets(registry: Registry) -> None:
    first, again, other = (Sets(space(), registry, seed).draw(5) for seed in (3, 3, 4))
    assert [(one.spec, one.seed) for one in first] == [(one.spec, one.seed) for one in again]
    assert [one.spec for one in first] != [one.spec for one in other]


def test_the_sets_have_every_field_of_a_spec(drawn: tuple[Covering, list[ParameterSet]]) -> None:
    """A new field must become a dimension; only what is no picture's may stay out."""
    sent = [chosen.given for chosen in drawn[1]]
    of_refiner = set().union(*(given.refiner.model_fields_set for given in sent if given.refiner))
    assert set().union(*(given.model_fields_set for given in sent)) == (
        set(RenderSpec.model_fields) - NOT_OF_THE_PICTURE
    )
    assert of_refiner == set(RefinerSpec.model_fields)


def test_each_measured_parameter_is_the_only_one_that_differs(
    drawn: tuple[Covering, list[ParameterSet]],
) -> None:
    """But for what has no meaning without it."""
    depends = {
        "mode": {"image", "mask_image", "strength", "padding_mask_crop"},
        "refiner": {"refiner"},
        "size": {"height", "width"},
        "guidance": {"guidance_scale"},
        "mask": {"mask_image"},
        "zero_snr": {"rescale_betas_zero_snr"},
        "steps": {"num_inference_steps", "timesteps", "sigmas"},
    }
    for chosen in drawn[1]:
        for name, given in chosen.without.items():
            fields = set(RenderSpec.model_fields)
            changed = {field for field in fields if getattr(given, field) != getattr(chosen.given, field)}
            inside = name.startswith("refiner_") or name.endswith("aesthetic_score")
            assert changed <= depends.get(name, {"refiner"} if inside else {name}), name
            assert changed, (name, chosen.levels)


def test_every_sampler_and_kind_of_model_is_in_the_space() -> None:
    model, sampler = space()[:2]
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
