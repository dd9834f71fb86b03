from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from latentfarm.explain import MOST, allowed, explain
from latentfarm.spec import RenderSpec


def complaints(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as refused:
        RenderSpec.model_validate({"prompt": "a", **fields})
    return [(error.field, error.allowed) for error in explain(refused.value, RenderSpec)]


def test_limits_come_from_the_schema() -> None:
    assert complaints(width=9, qqq=1, lane="x", refiner={"high_noise_frac": 2}) == [
        ("width", "8 to 16384, a multiple of 8"),
        ("refiner.high_noise_frac", "over 0 and under 1"),
        ("lane", "interactive, bulk"),
        ("qqq", ", ".join(RenderSpec.model_fields)),
    ]


def test_an_unknown_nested_field_is_told_its_neighbours() -> None:
    assert complaints(output={"formatt": "png"}) == [("output.formatt", "did you mean format?")]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("prompt",), "text of at most 8192 characters"),
        (("original_size", 1), "0 to 16384"),
        (("original_size",), "a list of 2"),
        (("timesteps",), "a list of at most 200"),
        (("timesteps", 3), "at least 0 and under 1000"),
        (("metadata", "any"), "text of at most 512 characters"),
        (("metadata",), "an object of at most 16 keys"),
        (("reproducible",), "true or false"),
        (("no", "such", 1, "place"), ""),
        ((), "an object"),
    ],
)
def test_words_for_each_kind(place: tuple[str | int, ...], words: str) -> None:
    assert allowed(RenderSpec, place) == words


def test_a_flood_is_cut() -> None:
    assert len(complaints(timesteps=["x"] * 150)) == MOST


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(list(RenderSpec.model_fields)) | st.text(), inner)
        ),
    )
)
def test_whatever_is_wrong_can_be_explained(document: Any) -> None:
    error = refusal(document)
    assume(error is not None)
    assert error is not None
    found = explain(error, RenderSpec)
    assert len(found) == min(MOST, error.error_count())
    assert all(one.message and 0 < len(one.field) <= 200 for one in found)


def refusal(document: Any) -> ValidationError | None:
    try:
        RenderSpec.model_validate(document)
    except ValidationError as error:
        return error
    return None
