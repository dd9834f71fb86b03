"""Names of objects: made of ids and fences, never the same for two claims."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.keys import (
    PREFIX,
    checkpoint_key,
    dataset_key,
    dataset_of,
    image_key,
    input_key,
    input_of,
    latents_key,
    render_of,
    spool_key,
    upload_key,
    upload_of,
)

if TYPE_CHECKING:
    import uuid

claims = st.tuples(st.integers(1, 2**63 - 1), st.integers(1, 2**31 - 1))


@given(claims, claims)
def test_two_claims_never_share_a_key(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert (latents_key(*first) == latents_key(*second)) == (first == second)
    assert (image_key(*first, "png") == image_key(*second, "png")) == (first == second)


@given(claims)
def test_keys_hold_ids_only(claim: tuple[int, int]) -> None:
    assert latents_key(*claim) == f"v1/latents/{claim[0]}/{claim[1]}.safetensors"
    assert checkpoint_key(*claim, 7) == f"v1/checkpoints/{claim[0]}/{claim[1]}-7.safetensors"
    assert re.fullmatch(r"v1/images/\d+/\d+\.webp", image_key(*claim, "webp"))


def test_everything_lies_under_one_prefix() -> None:
    """So that an S3 key can be limited to it."""
    assert all(key.startswith(PREFIX) for key in (latents_key(1, 1), image_key(1, 1, "png")))


@given(claims, st.sampled_from(["png", "webp", "jpeg"]))
def test_a_key_tells_whose_it_is(claim: tuple[int, int], extension: str) -> None:
    assert render_of(latents_key(*claim)) == render_of(image_key(*claim, extension)) == claim[0]
    assert input_of(image_key(*claim, extension)) is None
    assert upload_of(latents_key(*claim)) is None


@given(st.binary(min_size=32, max_size=32), st.uuids())
def test_keys_of_pictures_and_uploads_tell_it_too(sha256: bytes, upload: uuid.UUID) -> None:
    assert (input_of(input_key(sha256)), upload_of(upload_key(upload))) == (sha256, upload)
    assert (render_of(input_key(sha256)), upload_of(input_key(sha256))) == (None, None)
    assert input_of(upload_key(upload)) is None


@given(st.uuids(), st.integers(0, 2**31 - 1))
def test_keys_of_datasets_tell_it_too(dataset: uuid.UUID, fence: int) -> None:
    file = dataset_key(dataset, "data/train-000003-1.tar", fence=fence)
    assert file == f"v1/datasets/{dataset}/data/train-000003-1.f{fence}.tar"
    assert dataset_of(file) == dataset_of(spool_key(dataset, 7, b"x" * 32)) == dataset
    assert (render_of(file), upload_of(file), input_of(file)) == (None, None, None)
    assert dataset_of(upload_key(dataset)) is None


@pytest.mark.parametrize(
    "key",
    [
        "v1/images/x",
        "v1/images/1/2",
        "v1/images/0/1.png",
        "v1/images/1/1.png/",
        "v2/images/1/1.png",
        "v1/spool/x/1",
        "",
    ],
)
def test_other_names_are_nobodys(key: str) -> None:
    assert (render_of(key), upload_of(key), input_of(key)) == (None, None, None)
    assert dataset_of(key) is None
