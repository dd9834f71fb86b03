"""What the API refuses of a wish to refine, before it asks any service."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentfarm.refinement import RefineRequest
from tests.unit.test_api_bad_input import FUZZED, JOB, VALUES


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ('{"sauce": "image"}', "sauce", "did you mean source?"),
        ('{"source": "both"}', "source", "latents, image"),
        ('{"indices": []}', "indices", "at least 1"),
        ('{"indices": [-1]}', "indices.0", "at least 0"),
        ('{"indices": "all"}', "indices", "a list"),
        ('{"refiner": {"strength": 2}}', "refiner.strength", "0 to 1"),
        ('{"refiner": null}', "refiner", "an object"),
        ('{"refiner": {"frac": 1}}', "refiner.frac", "unknown field"),
        ('{"keep_latents": 604801}', "keep_latents", "0 to 604800"),
        ('{"priority": 11}', "priority", "-10 to 10"),
        ('{"num_images": 2}', "num_images", "unknown field"),
        ("[]", "body", "an object"),
    ],
)
def test_a_bad_wish_to_refine_is_refused_with_field_and_limit(body: str, field: str, word: str) -> None:
    answer = FUZZED.post(f"/v1/jobs/{JOB}/refine", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert word in f"{error['message']} {error['allowed']}"


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*RefineRequest.model_fields, "unknown"]), VALUES, max_size=5))
def test_no_wish_to_refine_makes_the_api_fail(fields: dict[str, object]) -> None:
    answer = FUZZED.post(
        f"/v1/jobs/{JOB}/refine",
        content=json.dumps(fields),
        headers={"Content-Type": "application/json"},
    )
    # 503: the body was good, and the database is not there.
    assert answer.status_code in (400, 422, 503)
    assert answer.headers["content-type"] == "application/problem+json"
