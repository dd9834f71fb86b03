"""Stock readers open every layout, and find the same images, captions and rows."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import datasets
import pytest
from PIL import Image

from tests.pieces import image_file, piece, pieces
from worker.seal.card import PATH as CARD
from worker.seal.card import card
from worker.seal.cutting import bytes_of
from worker.seal.looks import PATH as NEAR
from worker.seal.looks import Looks, content
from worker.seal.manifest import PATH as MANIFEST
from worker.seal.manifest import Manifest, NearFile
from worker.seal.packing import pack
from worker.seal.row import COLUMNS, row_of
from worker.seal.run import Model, Run
from worker.seal.shard import Layout, Shard, ShardFile

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from worker.seal.piece import Piece

READER = """
import hashlib, json, sys, webdataset

found = webdataset.WebDataset(sys.argv[1:], shardshuffle=False, empty_check=False)
print(json.dumps([
    (one["__key__"], hashlib.sha256(one["png"]).hexdigest(), json.loads(one["json"]), one["txt"].decode())
    for one in found
]))
"""
SHARDS = {0: range(7), 1: range(7, 12)}


@pytest.fixture(params=list(Layout))
def layout(request: pytest.FixtureRequest) -> Layout:
    found: Layout = request.param
    return found


@pytest.fixture
def folder(tmp_path: Path, layout: Layout) -> Path:
    """A dataset of two shards with all that lies beside them."""
    place = tmp_path / "dataset"
    marks = [seal(place, Shard(layout, number), pieces(*ordinals)) for number, ordinals in SHARDS.items()]
    run = Run("tests", layout, 5, "f" * 64, "d" * 64, 12, 7, (Model("tiny", licence="apache-2.0"),))
    seen = Looks()
    for number in SHARDS:
        shard = Shard(layout, number)
        seen.add(shard.name, (place / shard.index_path).read_bytes())
    near = content(seen.near_duplicates(lambda: None))
    (place / NEAR).write_bytes(near)
    file = ShardFile(NEAR, len(near), hashlib.sha256(near).hexdigest())
    manifest = Manifest(run, marks, NearFile(0, file))
    (place / MANIFEST).write_bytes(manifest.content())
    (place / CARD).write_bytes(card(manifest))
    return place


def seal(place: Path, shard: Shard, made: list[Piece]) -> bytes:
    """The first one is cut into several files."""
    paths = place / shard.data_path, place / shard.index_path
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    files = count(1)
    with ExitStack() as stack:

        def further() -> BinaryIO:
            return stack.enter_context((place / shard.data_path_of(next(files))).open("wb"))

        data, index = (stack.enter_context(path.open("wb")) for path in paths)
        most = 3 * bytes_of(made[0]) if shard.number == 0 else None
        mark = pack(shard, iter(made), data, index, most_bytes=most, further=further).stats()
    assert (next(files) > 2) == (shard.number == 0)
    (place / shard.stats_path).write_bytes(mark)
    return mark


def made() -> list[Piece]:
    return pieces(*(ordinal for ordinals in SHARDS.values() for ordinal in ordinals))


def pixels(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return _digest(image)


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def expected() -> list[tuple[str, str, dict[str, Any]]]:
    return sorted((piece.id, pixels(piece.image), row_of(piece)) for piece in made())


def read(place: Path, tmp_path: Path, *name: str, **options: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, pixels and row of every sample that `load_dataset` finds."""
    where = name or (str(place),)
    found = datasets.load_dataset(*where, split="train", cache_dir=str(tmp_path / "cache"), **options)
    samples = []
    for sample in found:
        image = sample.get("png") or sample["image"]
        row = sample["json"] if "json" in sample else {name: sample[name] for name in COLUMNS}
        assert sample.get("txt", row["text"]) == row["text"]
        samples.append((row["id"], _digest(image), row))
    return sorted(samples)


def test_a_plain_folder_opens(folder: Path, tmp_path: Path) -> None:
    assert read(folder, tmp_path) == expected()


@pytest.mark.parametrize("below", [".", "data"])
def test_the_reader_of_the_layout_opens_it(folder: Path, tmp_path: Path, layout: Layout, below: str) -> None:
    assert read(folder, tmp_path, layout.value, data_dir=str(folder / below)) == expected()


@pytest.mark.parametrize("layout", [Layout.IMAGEFOLDER, Layout.PARQUET])
def test_formats_may_differ_where_the_layout_holds_it(tmp_path: Path, layout: Layout) -> None:
    mixed = [
        piece(0),
        *(
            piece(number, image=image_file(number, kind), format=kind)
            for number, kind in ((1, "webp"), (2, "jpeg"))
        ),
    ]
    place = tmp_path / "dataset"
    seal(place, Shard(layout, 1), mixed)
    found = read(place, tmp_path, layout.value, data_dir=str(place / "data"))
    assert found == sorted((one.id, pixels(one.image), row_of(one)) for one in mixed)


@pytest.mark.parametrize("layout", [Layout.WEBDATASET], indirect=True)
def test_webdataset_reads_the_tars(folder: Path) -> None:
    urls = [str(path) for path in sorted((folder / "data").iterdir())]
    # In a process of its own: it leaves its files to be closed by the garbage collector.
    done = subprocess.run([sys.executable, "-c", READER, *urls], capture_output=True, text=True, check=True)
    samples = json.loads(done.stdout)
    assert samples == [[one.key, one.sha256, row_of(one), one.caption] for one in made()]


@pytest.mark.parametrize("layout", [Layout.WEBDATASET], indirect=True)
def test_files_of_a_sample_follow_each_other_and_tell_no_time(folder: Path) -> None:
    with tarfile.open(folder / "data" / "train-000000.tar") as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries[:4]] == [
        "000000000.png",
        "000000000.json",
        "000000000.txt",
        "000000001.png",
    ]
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) for entry in entries} == {
        (0, 0, 0, "", 0o644)
    }


@pytest.mark.parametrize("layout", [Layout.PARQUET], indirect=True)
def test_the_index_opens_by_itself(folder: Path, tmp_path: Path) -> None:
    files = sorted(str(path) for path in (folder / "index").glob("*.parquet"))
    found = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found["id"][:] == [piece.id for piece in made()]
    assert found["clip_skip"][:] == [1 if ordinal % 3 == 2 else None for ordinal in range(12)]
