"""`RenderSpec`: what it refuses on its own, seeds, and what two specs share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from latentfarm.spec import JOB_FIELDS, MAX_STEPS, SEED_RANGE, RefinerSpec, RenderSpec, digest

specs = st.builds(
    RenderSpec,
    prompt=st.text(max_size=200),
    negative_prompt=st.none() | st.text(max_size=50),
    seed=st.integers(0, SEED_RANGE - 1),
    num_images=st.integers(1, 10_000),
    num_inference_steps=st.integers(1, MAX_STEPS),
    guidance_scale=st.floats(0, 100),
    refiner=st.none() | st.builds(RefinerSpec, high_noise_frac=st.floats(0.01, 0.99)),
    prompt_weighting=st.none() | st.just("compel"),
    crops_coords_top_left=st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999)),
)


@given(specs)
def test_a_spec_survives_json(spec: RenderSpec) -> None:
    assert RenderSpec.model_validate_json(spec.model_dump_json()) == spec


@given(specs)
def test_the_stored_picture_and_the_job_fields_make_the_whole_spec(spec: RenderSpec) -> None:
    job = spec.model_dump(mode="json", include=set(JOB_FIELDS))
    assert RenderSpec.model_validate({**spec.picture(), **job}) == spec


@given(specs, st.integers(0, SEED_RANGE - 1))
def test_the_picture_does_not_depend_on_the_job(spec: RenderSpec, seed: int) -> None:
    """So a million renders of one prompt share one row."""
    other = spec.model_copy(update={"seed": seed, "num_images": 1, "priority": 3, "metadata": {"a": "b"}})
    assert digest(other.picture()) == digest(spec.picture())


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "b"},
        {"guidance_scale": 5.1},
        {"refiner": RefinerSpec()},
        {"reproducible": True},
        {"crops_coords_top_left": (0, 1)},
        {"prompt_weighting": "compel"},
    ],
)
def test_every_change_of_the_picture_changes_its_digest(change: dict[str, Any]) -> None:
    assert digest(RenderSpec(**{"prompt": "a", **change}).picture()) != digest(
        RenderSpec(prompt="a").picture()
    )


def test_the_digest_does_not_change_with_a_release() -> None:
    """Rows of older releases are found by it."""
    picture = {"prompt": "é", "sizes": [1, 2]}
    assert digest(picture).hex() == "a461b830c56463d38f18fbffe4ae7f6ed221fd59358b72d5f24ba6632346f133"


def test_a_field_that_came_later_changes_nothing_where_nobody_asks_for_it() -> None:
    """Specs of earlier releases keep their rows, and a worker of the release before reads new ones."""
    assert "prompt_weighting" not in RenderSpec(prompt="a").picture()


@given(st.integers(0, SEED_RANGE - 1), st.integers(0, 10_000))
def test_seeds_count_up_and_wrap(seed: int, index: int) -> None:
    found = RenderSpec(prompt="a", seed=seed).seed_of(index)
    assert 0 <= found < SEED_RANGE
    assert (found - seed - index) % SEED_RANGE == 0


def test_a_seed_must_be_drawn_before_it_is_used() -> None:
    with pytest.raises(ValueError, match="not drawn"):
        RenderSpec(prompt="a").seed_of(0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", "x" * 8193),
        ("width", 12),
        ("height", 0),
        ("num_images", 0),
        ("num_images", 10_001),
        ("seed", -1),
        ("seed", SEED_RANGE),
        ("num_inference_steps", 0),
        ("num_inference_steps", 201),
        ("guidance_scale", float("nan")),
        ("guidance_scale", float("inf")),
        ("guidance_scale", -0.1),
        ("eta", 1.1),
        ("timesteps", [1000]),
        ("sigmas", [float("inf")]),
        ("original_size", [1]),
        ("crops_coords_top_left", [-1, 0]),
        ("refiner", {"high_noise_frac": 1.0}),
        ("refiner", {"high_noise_frac": 0.0}),
        ("refiner", {"mode": "other"}),
        ("output", {"format": "gif"}),
        ("output", {"quality": 0}),
        ("prompt_weighting", "a1111"),
        ("prompt_weighting", True),
        ("lane", "fast"),
        ("priority", 11),
        ("keep_latents", -1),
        ("metadata", {"": "x"}),
        ("metadata", {"key": "x" * 513}),
        ("metadata", {str(n): "" for n in range(17)}),
        ("num_inference_step", 20),
        ("tenant", "somebody"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        RenderSpec.model_validate({"prompt": "a", field: value})
    assert {error["loc"][0] for error in refused.value.errors()} == {field}


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RenderSpec(prompt="a").prompt = "b"  # type: ignore[misc]  # that is the point


def test_every_field_says_what_it_means() -> None:
    for model in (RenderSpec, RefinerSpec):
        assert [name for name, field in model.model_fields.items() if not field.description] == []
