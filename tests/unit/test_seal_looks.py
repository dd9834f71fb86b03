"""Near-duplicates of a whole run: as if all shards were one, and none is missed for being in a crowd."""

from __future__ import annotations

import io
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.drawing import picture
from tests.pieces import image_file, piece
from worker.seal import crowds
from worker.seal.crowds import with_company
from worker.seal.duplicates import PHASH_DISTANCE, NearDuplicates
from worker.seal.looks import SCHEMA, Looks, content
from worker.seal.packing import pack
from worker.seal.shard import Layout, Shard

Look = tuple[int, int, int]
"""Ordinal, hash and colour."""


def quiet() -> None:
    """Nobody waits for a sign of life."""


def index(looks: list[Look]) -> bytes:
    rows = [
        {"id": f"id/{ordinal}", "ordinal": ordinal, "phash": f"{phash:016x}", "colour": f"{colour:06x}"}
        for ordinal, phash, colour in looks
    ]
    types = {"id": pa.string(), "ordinal": pa.int64(), "phash": pa.string(), "colour": pa.string()}
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), out)
    return out.getvalue()


def found(shards: dict[str, list[Look]]) -> list[dict[str, Any]]:
    seen = Looks()
    for name, looks in shards.items():
        seen.add(name, index(looks))
    rows: list[dict[str, Any]] = seen.near_duplicates(quiet).to_pylist()
    return rows


def drawn(count: int, kinds: int, seed: int) -> list[Look]:
    """Many images of few kinds, each some bits away from its kind."""
    random = Random(seed)
    bases = [random.getrandbits(64) for _ in range(kinds)]
    looks = []
    for ordinal in range(count):
        phash = random.choice(bases)
        for _ in range(random.randrange(5)):
            phash ^= 1 << random.randrange(64)
        looks.append((ordinal, phash, random.choice([0x101010, 0x141210, 0x802010])))
    return looks


@pytest.mark.parametrize(("kinds", "crowd"), [(300, 1_024), (3, 1_024), (3, 10)])
def test_shards_are_looked_at_as_if_they_were_one(
    kinds: int, crowd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowds, "LEAST_CROWD", crowd)
    looks = drawn(600, kinds, seed=kinds)
    one = NearDuplicates()
    expected = [(look[0], first) for look in looks if (first := one.add(*look)) is not None]
    # Its supplement comes behind the first shard, and has some of its ordinals.
    parts = {
        "000000": looks[:100] + looks[150:200],
        "000000-1": looks[100:150],
        "000001": looks[200:],
    }
    rows = found(parts)
    assert [(row["ordinal"], row["duplicate_of_ordinal"]) for row in rows] == expected
    by_ordinal = {look[0]: look for look in looks}
    where = {look[0]: name for name, part in parts.items() for look in part}
    for row in rows:
        bits = by_ordinal[row["ordinal"]][1] ^ by_ordinal[row["duplicate_of_ordinal"]][1]
        assert row["distance"] == bits.bit_count() <= PHASH_DISTANCE
        for place in ("", "duplicate_of_"):
            assert row[f"{place}shard"] == where[row[f"{place}ordinal"]]
        assert (row["id"], row["duplicate_of"]) == (
            f"id/{row['ordinal']}",
            f"id/{row['duplicate_of_ordinal']}",
        )


def test_equal_images_name_the_first_one_each_once() -> None:
    rows = found({"000000": [(n, 5, 0) for n in range(50)], "000001": [(n, 5, 0) for n in range(50, 100)]})
    assert [(row["ordinal"], row["duplicate_of_ordinal"]) for row in rows] == [(n, 0) for n in range(1, 100)]


def test_images_of_one_colour_are_nobodys_duplicates() -> None:
    out = io.BytesIO()
    images = [picture(fill=0), picture(fill=0), image_file(1), image_file(1)]
    pieces = [piece(n, image=image) for n, image in enumerate(images)]
    pack(Shard(Layout.WEBDATASET, 0), iter(pieces), io.BytesIO(), out)
    seen = Looks()
    seen.add("000000", out.getvalue())
    rows = seen.near_duplicates(quiet).to_pylist()
    assert [(row["id"], row["duplicate_of"], row["distance"]) for row in rows] == [("id/3.x", "id/2.x", 0)]


@pytest.mark.parametrize("crowd", [1_024, 4])
def test_no_hash_with_company_is_passed_over(crowd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "LEAST_CROWD", crowd)
    hashes = np.array([look[1] for look in drawn(400, 150, seed=9)], np.uint64)
    apart = np.bitwise_count(hashes[:, None] ^ hashes)
    np.fill_diagonal(apart, 64)
    near = (apart <= PHASH_DISTANCE).any(axis=1)
    assert 0 < near.sum() < len(hashes)
    company = with_company(hashes, quiet)
    assert not (near & ~company).any()
    if crowd == 1_024:
        assert (company == near).all()


def test_hashes_by_chance_are_no_crowd() -> None:
    """Or a million images would be compared one by one."""
    hashes = np.random.default_rng(3).integers(0, 2**64, 50_000, dtype=np.uint64)
    hashes[777] = hashes[42_000] ^ np.uint64(0b1011)
    assert np.flatnonzero(with_company(hashes, quiet)).tolist() == [777, 42_000]


def test_whoever_looks_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.seal.looks.EACH", 50)
    calls: list[int] = []
    hashes = np.array([look[1] for look in drawn(300, 3, seed=1)], np.uint64)
    with_company(hashes, lambda: calls.append(1))
    compared = len(calls)
    assert compared > 10
    seen = Looks()
    seen.add("000000", index(drawn(300, 3, seed=1)))
    seen.near_duplicates(lambda: calls.append(1))
    assert len(calls) == compared + compared + 300 // 50


def test_a_run_without_shards_has_an_empty_file() -> None:
    table = pq.read_table(io.BytesIO(content(Looks().near_duplicates(quiet))))
    assert (len(table), table.schema.names) == (0, SCHEMA.names)
    empty = Looks()
    empty.add("000000", index([]))
    assert len(empty.near_duplicates(quiet)) == 0
