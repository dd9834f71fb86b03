"""Packing: bytes that depend on the pieces alone, one row for every layout, one mark per shard."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from latentfarm.adapters import LoraUse
from latentfarm.client_verify import rows_of as rows_in
from latentfarm.spec import RefinerSpec, RenderSpec
from tests.pieces import START, image_file, piece, pieces
from worker.seal import embedded
from worker.seal.cutting import bytes_of
from worker.seal.index import PARAMETERS, index_schema
from worker.seal.packing import pack
from worker.seal.piece import Facts
from worker.seal.row import COLUMNS, row_of
from worker.seal.shard import Layout, LeftOut, Sealed, Shard

TYPES = {"string": str, "int64": int, "float64": float, "bool": bool}


class Pipe(io.RawIOBase):
    """Takes bytes, and can do nothing else."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def seek(self, *_: Any) -> int:
        raise AssertionError("a shard is written in one go")


def packed(shard: Shard, *ordinals: int, **fields: Any) -> tuple[bytes, bytes, Sealed]:
    data, index = Pipe(), io.BytesIO()
    made = (piece(ordinal, **fields) for ordinal in ordinals)
    sealed = pack(shard, made, data, index)  # type: ignore[arg-type]  # has what a pipe has
    return bytes(data.data), index.getvalue(), sealed


def index_rows(index: bytes) -> list[dict[str, Any]]:
    return list(pq.read_table(io.BytesIO(index)).to_pylist())


@pytest.mark.parametrize("layout", Layout)
def test_two_packings_are_byte_equal(layout: Layout) -> None:
    assert packed(Shard(layout, 0), *range(5)) == packed(Shard(layout, 0), *range(5))


@pytest.mark.parametrize("layout", Layout)
def test_samples_do_not_tell_who_made_them_and_when(layout: Layout) -> None:
    facts = piece(0).facts
    other = replace(
        facts, worker="w2", device="gpu", finished_at=START + timedelta(days=1), seconds=9, starts=2
    )
    first, second = packed(Shard(layout, 0), 0, 1), packed(Shard(layout, 0), 0, 1, facts=other)
    assert first[0] == second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize("layout", Layout)
def test_digests_and_counts_are_those_of_the_files(layout: Layout) -> None:
    data, index, sealed = packed(Shard(layout, 3), *range(30, 34))
    assert [(one.path, one.size, one.sha256) for one in sealed.files] == [
        (sealed.shard.data_path, len(data), hashlib.sha256(data).hexdigest()),
        (sealed.shard.index_path, len(index), hashlib.sha256(index).hexdigest()),
    ]
    assert sealed.images == 4
    assert sealed.image_bytes == sum(len(one.image) for one in pieces(*range(30, 34)))


@pytest.mark.parametrize("layout", Layout)
def test_a_shard_of_which_nothing_came_is_a_shard(layout: Layout) -> None:
    data, index, sealed = packed(Shard(layout, 0))
    assert data
    assert index_rows(index) == []
    assert json.loads(sealed.stats())["first"] is None


@pytest.mark.parametrize("ordinals", [(1, 1), (2, 1)])
def test_ordinals_rise(ordinals: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"image 1 after image {ordinals[0]}"):
        packed(Shard(Layout.WEBDATASET, 0), *ordinals)


def test_every_row_has_every_column_and_no_null() -> None:
    for one in [*pieces(*range(6)), piece(9, quality=None, facts=Facts())]:
        row = row_of(one)
        assert {name: type(value) for name, value in row.items()} == {
            name: TYPES[dtype] for name, dtype in COLUMNS.items()
        }


def test_nothing_of_the_spec_is_lost_in_a_row() -> None:
    one = piece(2)
    assert json.loads(row_of(one)["spec"]) == one.picture
    assert json.loads(row_of(piece(1))["metadata"]) == {"origin": "tests"}


def test_the_index_has_a_column_for_every_parameter() -> None:
    fields = set(RenderSpec(prompt="a", prompt_weighting="compel").picture())
    assert fields == set(PARAMETERS)
    assert set(RefinerSpec().model_dump()) == {field.name for field in PARAMETERS["refiner"]}
    assert set(LoraUse(name="a").model_dump()) == {field.name for field in PARAMETERS["loras"].value_type}


def test_the_index_tells_all_that_is_known() -> None:
    spec = RenderSpec(
        prompt="a",
        timesteps=(999, 1),
        original_size=(64, 72),
        refiner=RefinerSpec(),
        loras=(LoraUse(name="x", weight=0.5),),
    )
    shard = Shard(Layout.WEBDATASET, 0)
    _, index, _ = packed(
        shard, 4, picture=spec.picture(), duplicate_of=1, scores={"beauty": 0.5}, metadata={"a": 1}
    )
    (row,) = index_rows(index)
    assert list(row) == index_schema().names
    one = piece(4)
    wanted = {
        "id": "id/4.x",
        "key": "000000004",
        "file": "data/train-000000.tar",
        "file_name": "000000004.png",
        "seed": 2**53 - 5,
        "sha256": one.sha256,
        "bytes": len(one.image),
        "width": 64,
        "height": 64,
        "worker": "w1",
        "seconds": 1.5,
        "finished_at": START + timedelta(seconds=2),
        "duplicate_of": 1,
        "scores": '{"beauty":0.5}',
        "metadata": '{"a":1}',
        "timesteps": [999, 1],
        "original_size": [64, 72],
        "loras": [{"name": "x", "weight": 0.5}],
    }
    assert {name: row[name] for name in wanted} == wanted
    assert row["refiner"]["mode"] == "ensemble"
    assert one.quality is not None
    assert int(row["phash"], 16) == one.quality.phash
    assert row["sharpness"] == one.quality.sharpness


def test_what_was_not_measured_is_null_in_the_index() -> None:
    _, index, _ = packed(Shard(Layout.PARQUET, 0), 0, quality=None)
    (row,) = index_rows(index)
    assert (row["phash"], row["uniform"], row["sharpness"], row["colour"]) == (None,) * 4


def test_the_mark_lists_what_is_missing_and_what_is_odd() -> None:
    black = image_file(0)
    facts = replace(piece(0).facts, non_finite=True)
    _, _, sealed = packed(Shard(Layout.WEBDATASET, 2), 21, 25, image=black, duplicate_of=3, facts=facts)
    gone = [LeftOut(24, "b", "dropped", "dark"), LeftOut(22, "a", "failed", "poison", "died alone")]
    stats = json.loads(sealed.stats(gone))
    assert stats["marked"] == {"duplicate": 2, "non_finite": 2}
    assert stats["left_out"] == {"dropped": 1, "failed": 1}
    assert [one["ordinal"] for one in stats["missing"]] == [22, 24]
    assert stats["missing"][0]["message"] == "died alone"
    assert (stats["first"], stats["last"], stats["ordinals"]) == (21, 25, None)
    assert sealed.stats(gone) == sealed.stats(reversed(gone))


def test_a_supplement_has_names_of_its_own_and_says_what_it_brings() -> None:
    _, _, sealed = packed(Shard(Layout.IMAGEFOLDER, 2, part=1), 22, 24)
    assert [one.path for one in sealed.files] == ["data/train-000002-1.zip", "index/000002-1.parquet"]
    assert json.loads(sealed.stats())["ordinals"] == [22, 24]


def test_row_groups_of_images_are_bounded_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "GROUP_ROWS", 4)
    data, _, _ = packed(Shard(Layout.PARQUET, 0), *range(10))
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [4, 4, 2]
    monkeypatch.setattr(embedded, "GROUP_BYTES", 1)
    data, _, _ = packed(Shard(Layout.PARQUET, 0), *range(3))
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups == 3


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_formats_keep_their_bytes(kind: str) -> None:
    image = image_file(1, kind)
    one = piece(1, image=image, format=kind)
    assert one.file_name == {"jpeg": "000000001.jpg", "webp": "000000001.webp"}[kind]
    data, _, _ = packed(Shard(Layout.WEBDATASET, 0), 1, image=image, format=kind)
    assert image in data


def test_the_index_and_the_mark_tell_of_seeds_that_were_rejected() -> None:
    rejected = [{"seed": 5, "reasons": ["dark", "uniform"]}, {"seed": 6, "reasons": ["dark"]}]
    shard = Shard(Layout.WEBDATASET, 0)
    _, index, sealed = packed(shard, 0, rejected=rejected, exhausted=True)
    (row,) = index_rows(index)
    assert (row["redraws"], row["rejected"], row["exhausted"]) == (2, rejected, True)
    stats = json.loads(sealed.stats())
    assert (stats["redrawn"], stats["redrawn_for"], stats["marked"]) == (
        1,
        {"dark": 2, "uniform": 1},
        {"exhausted": 1},
    )
    assert packed(shard, 0)[0] == packed(shard, 0, rejected=rejected, exhausted=True)[0]


@pytest.mark.parametrize("layout", Layout)
def test_a_shard_with_too_many_bytes_has_several_files(layout: Layout) -> None:
    shard, made = Shard(layout, 3, 1), pieces(*range(7))
    most = bytes_of(made[0]) + bytes_of(made[1]) + bytes_of(made[2])
    data, index = [io.BytesIO()], io.BytesIO()

    def further() -> io.BytesIO:
        data.append(io.BytesIO())
        return data[-1]

    sealed = pack(shard, iter(made), data[0], index, most_bytes=most, further=further)
    ending = layout.extension
    names = [f"data/train-000003-1{suffix}.{ending}" for suffix in ("", "_001", "_002")]
    assert [file.path for file in sealed.files] == [*names, shard.index_path]
    for file, out in zip(sealed.files, data, strict=False):
        assert (file.size, file.sha256) == (len(out.getvalue()), hashlib.sha256(out.getvalue()).hexdigest())
        assert file.size <= most
    told = [row["file"] for row in index_rows(index.getvalue())]
    counts = [rows_in(name, out) for name, out in zip(names, data, strict=True)]
    assert counts == [told.count(name) for name in names]
    assert told == sorted(told)
    assert sum(count or 0 for count in counts) == sealed.images == 7
    assert [file["path"] for file in json.loads(sealed.stats())["files"]] == [*names, shard.index_path]


def test_a_file_that_is_not_full_is_the_one_that_there_always_was() -> None:
    shard, made = Shard(Layout.WEBDATASET, 0), pieces(*range(4))
    alone = packed(shard, *range(4))[2]
    most = sum(map(bytes_of, made))
    assert pack(shard, iter(made), io.BytesIO(), io.BytesIO(), most_bytes=most, further=io.BytesIO) == alone


def test_an_image_that_is_too_large_alone_gets_a_file_of_its_own() -> None:
    sealed = pack(
        Shard(Layout.WEBDATASET, 0),
        iter(pieces(0, 1, 2)),
        io.BytesIO(),
        io.BytesIO(),
        most_bytes=1,
        further=io.BytesIO,
    )
    assert len(sealed.files) == 4
