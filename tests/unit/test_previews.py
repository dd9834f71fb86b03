"""Which steps are shown to whom, and what crosses Redis."""

from __future__ import annotations

import json
from uuid import UUID

import numpy as np
import pytest

from latentfarm.previews import CHANNELS, MAX_BYTES, Preview, Wish, channel_of, decode, wish_of
from worker.images import preview

JOB = UUID(int=7)


@pytest.mark.parametrize(
    ("wish", "total", "steps"),
    [
        (Wish(every=4), 12, [4, 8]),
        (Wish(every=5), 4, []),
        (Wish(every=1), 4, [1, 2, 3]),
        (Wish(shares=1), 10, [5]),
        (Wish(shares=3), 20, [5, 10, 15]),
        (Wish(shares=3), 3, [1, 2]),
        (Wish(shares=2), 1, []),
    ],
)
def test_a_wish_names_its_steps_and_never_the_last(wish: Wish, total: int, steps: list[int]) -> None:
    assert [done for done in range(1, total + 1) if wish.is_due(done, total)] == steps


def test_a_channel_leads_back_to_job_and_wish() -> None:
    for wish in (Wish(every=1), Wish(every=1000), Wish(shares=3)):
        assert wish_of(channel_of(JOB, wish).encode()) == (JOB, wish)
    for name in (b"\xff", "x", f"{CHANNELS}{JOB}", f"{CHANNELS}{JOB}:e0", f"{CHANNELS}{'-' * 36}:e1"):
        assert wish_of(name) is None


def test_a_preview_is_read_as_it_was_sent_and_strange_messages_are_none() -> None:
    sent = Preview(JOB, 1, "base", 4, 20, b"\xff\xd8\xff")
    assert decode(sent.encode()) == sent
    told = json.loads(sent.encode())
    for changed in ({"b64_json": "?"}, {"job": "x"}, {"step": None}, {"b64_json": "AAAA" * MAX_BYTES}):
        assert decode(json.dumps(told | changed)) is None
    for junk in (b"\xff", "[]", "null", "{}"):
        assert decode(junk) is None


def test_a_preview_is_small_whatever_it_shows() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    data = preview(noise)  # type: ignore[arg-type]  # an array of NumPy's does as well
    assert data is not None
    assert data[:2] == b"\xff\xd8"
    assert len(data) <= MAX_BYTES
