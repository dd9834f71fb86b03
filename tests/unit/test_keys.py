"""Names of objects: made of ids and fences, never the same for two claims."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from latentfarm.keys import PREFIX, checkpoint_key, image_key, latents_key

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
