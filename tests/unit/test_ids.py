"""Ids sort by time, and a bad one in a URL is simply not found."""

from __future__ import annotations

import pytest

from latentfarm.errors import NotFound
from latentfarm.ids import new_id, parse_id


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {made.version for made in ids} == {7}


def test_an_id_is_read_back() -> None:
    made = new_id()
    assert parse_id(str(made)) == made


@pytest.mark.parametrize("text", ["", "1", "not-an-id", "x" * 10_000])
def test_what_is_no_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound) as missing:
        parse_id(text)
    assert len(str(missing.value)) < 100
