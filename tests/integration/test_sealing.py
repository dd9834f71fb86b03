"""Shards of a dataset: packed, committed once, and the same whoever packs them."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from latentfarm.errors import ErrorClass, LatentsError
from latentfarm.records import Failure
from latentfarm.repository import failing, retrying
from latentfarm.states import Stage
from tests.drawing import picture
from tests.integration.packers import Packers
from tests.pieces import image_file
from worker.engine.order import Errand
from worker.sealing.clearing import Clearing
from worker.sealing.sealer import Sealer
from worker.sealing.shift import Shift

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


# In a process of its own: it leaves its files open, and warnings are errors here.
_STRANGER = """
import hashlib, json, sys, webdataset
found = webdataset.WebDataset(sys.argv[1:], shardshuffle=False)
print(json.dumps([(s["__key__"], hashlib.sha256(s["png"]).hexdigest(), s["txt"].decode()) for s in found]))
"""


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Packers:
    return Packers(repository, store)


def test_a_run_is_packed_to_its_end(ground: Packers, tmp_path: Path) -> None:
    dataset = ground.create(25)
    images = ground.render(failed=[3])
    done = ground.seal_all()
    assert [one.images for one in done] == [9, 10, 5, 0]
    assert ground.job() == "failed"
    states = ground.rows("SELECT number, state, images FROM shards ORDER BY number")
    assert states == [(-1, "sealed", 0), (0, "sealed", 9), (1, "sealed", 10), (2, "sealed", 5)]
    data, index, _ = done[0].files
    assert data["key"] == f"v1/datasets/{dataset}/data/train-000000.tar"
    table = {row["ordinal"]: row for row in pq.read_table(io.BytesIO(ground.read(index))).to_pylist()}
    assert list(table) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    told = [table[1][name] for name in ("id", "seed", "model_hash", "prompt", "metadata")]
    assert told == ["id/1", 1001, "ab" * 32, "a red ball, 1", '{"row":"1"}']
    assert table[1]["worker"] == f"worker{ground.rows('SELECT min(id) FROM workers')[0][0]}"
    assert ground.stats(done[0])["missing"] == [
        {"ordinal": 3, "id": "id/3", "outcome": "failed", "reason": "user", "message": "it asks for too much"}
    ]
    # As a stranger reads it.
    for one in done[:3]:
        (tmp_path / one.files[0]["key"].rpartition("/")[2]).write_bytes(ground.read(one.files[0]))
    paths = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    read = subprocess.run([sys.executable, "-c", _STRANGER, *paths], capture_output=True, check=True).stdout
    digests = {ordinal: hashlib.sha256(image).hexdigest() for ordinal, image in images.items()}
    assert {int(key): (digest, text) for key, digest, text in json.loads(read)} == {
        ordinal: (digest, f"a red ball, {ordinal}") for ordinal, digest in digests.items()
    }


def test_the_top_tells_of_all_shards(ground: Packers) -> None:
    dataset = ground.create(25)
    ground.render(failed=[3])
    top = ground.seal_all()[-1]
    assert [file["path"] for file in top.files] == ["manifest.json", "README.md", "near_duplicates.parquet"]
    fence = top.fence
    assert top.files[0]["key"] == f"v1/datasets/{dataset}/manifest.f{fence}.json"
    manifest = json.loads(ground.read(top.files[0]))
    assert manifest["totals"] == {
        "shards": 3,
        "images": 24,
        "image_bytes": manifest["totals"]["image_bytes"],
        "marked": {},
        "redrawn": 0,
        "redrawn_for": {},
        "left_out": {"failed": 1},
    }
    assert [shard["images"] for shard in manifest["shards"]] == [9, 10, 5]
    for shard in manifest["shards"]:
        for file in shard["files"]:
            stored = ground.store.read(f"v1/datasets/{dataset}/{file['path']}", most=10**7)
            assert stored is not None
            assert hashlib.sha256(stored).hexdigest() == file["sha256"]
    assert manifest["seed"] == 1000
    model = manifest["models"][0]
    assert [model[name] for name in ("name", "model_hash", "licence")] == ["tiny", "ab" * 32, "apache-2.0"]
    assert "/" not in manifest["models"][0]["source"]
    card = ground.read(top.files[1])
    assert b"# balls" in card
    assert b"hash " + b"ab" * 32 + b", licence apache-2.0 |" in card
    assert ground.rows("SELECT published FROM datasets")[0][0] == list(top.files)


def test_packing_again_gives_the_same_files_and_one_visible_shard(ground: Packers) -> None:
    """A worker is killed between the last upload and the commit."""
    dataset = ground.create(10)
    ground.render()
    worker = ground.worker(Stage.SEAL)
    (lost,) = ground.claim(worker, Stage.SEAL)
    first = ground.pack(lost)
    before = sorted(ground.store.list_keys(f"v1/datasets/{dataset}/"))
    ground.repository.end_worker(worker, "killed")
    (again,) = ground.seals()
    assert again.fence > lost.fence
    second = ground.pack(again)
    assert second.files == first.files
    assert sorted(ground.store.list_keys(f"v1/datasets/{dataset}/")) == before
    assert ground.commit(second)
    assert not ground.commit(first)
    assert not ground.commit(second)
    assert ground.rows("SELECT state, files FROM shards WHERE number = 0") == [("sealed", list(second.files))]
    assert ground.rows("SELECT remaining FROM shards WHERE number = -1") == [(0,)]


def test_a_stale_claim_has_nothing_to_pack_and_commits_nothing(ground: Packers) -> None:
    ground.create(10)
    ground.render()
    worker = ground.worker(Stage.SEAL)
    (lost,) = ground.claim(worker, Stage.SEAL)
    packed = ground.pack(lost)
    ground.repository.end_worker(worker, "killed")
    stale = Errand(lost.render_id, lost.fence, lost.stage)
    assert Sealer(ground.repository, ground.store)(stale, Shift(lambda: None)) is None
    assert not ground.commit(packed)
    assert ground.rows("SELECT state FROM shards WHERE number = 0") == [("full",)]
    assert ground.rows("SELECT count(*) FROM objects WHERE state = 'visible'") == [(10,)]


def test_other_bytes_under_a_name_stay_and_the_files_get_names_of_their_own(ground: Packers) -> None:
    dataset = ground.create(10)
    ground.render()
    taken = f"v1/datasets/{dataset}/data/train-000000.tar"
    ground.store.put(taken, b"somebody else's", "application/x-tar")
    (claimed,) = ground.seals()
    packed = ground.pack(claimed)
    data, index, _ = packed.files
    assert data["path"] == "data/train-000000.tar"
    assert data["key"] == f"v1/datasets/{dataset}/data/train-000000.f{claimed.fence}.tar"
    assert index["key"] == f"v1/datasets/{dataset}/index/000000.parquet"
    assert ground.store.read(taken, most=100) == b"somebody else's"
    with tarfile.open(fileobj=io.BytesIO(ground.read(data))) as tar:
        assert len(tar.getnames()) == 30


def test_what_is_retried_comes_in_a_supplement(ground: Packers) -> None:
    dataset = ground.create(25)
    ground.render(failed=[3, 17])
    before = ground.seal_all()
    assert ground.repository.transact(lambda c: retrying.retry_failed(c, dataset)) == 2
    images = ground.render()
    first, second, top = ground.seal_all()
    assert [one.files[0]["path"] for one in (first, second)] == [
        "data/train-000000-1.tar",
        "data/train-000001-1.tar",
    ]
    for packed, ordinal in ((first, 3), (second, 17)):
        with tarfile.open(fileobj=io.BytesIO(ground.read(packed.files[0]))) as tar:
            found = tar.extractfile(f"{ordinal:09d}.png")
            assert found is not None
            assert found.read() == images[ordinal]
        assert ground.stats(packed)["ordinals"] == [ordinal]
    manifest = json.loads(ground.read(top.files[0]))
    assert (manifest["totals"]["images"], manifest["totals"]["left_out"]) == (25, {})
    assert ground.job() == "succeeded"
    # The earlier manifest is still what it was.
    assert json.loads(ground.read(before[-1].files[0]))["totals"]["images"] == 23


def test_a_manifest_that_has_grown_is_packed_on(ground: Packers) -> None:
    ground.create(14)
    ground.render()
    ground.seal_all()
    ground.create(25)
    ground.render()
    *shards, top = ground.seal_all()
    paths = [one.files[0]["path"] for one in shards]
    assert paths == ["data/train-000001-1.tar", "data/train-000002.tar"]
    assert [one.images for one in shards] == [6, 5]
    assert json.loads(ground.read(top.files[0]))["totals"]["images"] == 25


def test_what_the_policy_drops_is_listed_and_its_object_goes(ground: Packers) -> None:
    def image(ordinal: int) -> bytes:
        return {2: picture(fill=0), 5: picture(fill=(200, 0, 0)), 7: image_file(6)}.get(
            ordinal, image_file(ordinal)
        )

    ground.create(10, quality={"dark": "drop", "duplicate": "drop", "uniform": "mark"})
    ground.render(image=image)
    packed = ground.seal_all()[0]
    stats = ground.stats(packed)
    missing = [(one["ordinal"], one["outcome"], one["reason"], one["message"]) for one in stats["missing"]]
    assert missing == [(2, "dropped", "dark", ""), (7, "dropped", "duplicate", "looks like image 6")]
    assert (packed.images, stats["marked"]) == (8, {"uniform": 1})
    assert ground.job() == "succeeded"
    assert ground.rows("SELECT DISTINCT state FROM objects") == [("going",)]


def test_the_top_names_near_duplicates_of_other_shards(ground: Packers) -> None:
    ground.create(25)
    ground.render(image=lambda n: image_file(2 if n in (13, 24) else n))
    done = ground.seal_all()
    top = done[-1]
    rows = pq.read_table(io.BytesIO(ground.read(top.files[2]))).to_pylist()
    pairs = [(row["id"], row["shard"], row["duplicate_of"], row["duplicate_of_shard"]) for row in rows]
    assert pairs == [("id/13", "000001", "id/2", "000000"), ("id/24", "000002", "id/2", "000000")]
    assert [row["distance"] for row in rows] == [0, 0]
    near = json.loads(ground.read(top.files[0]))["near_duplicates"]
    assert near["images"] == 2
    file = {name: top.files[2][name] for name in ("path", "size", "sha256")}
    assert near["file"] == file
    assert b"2 images look like an earlier one of the run" in ground.read(top.files[1])
    assert all(ground.stats(one)["marked"] == {} for one in done[:-1])


def test_a_shard_with_too_many_bytes_has_several_files_and_one_index(ground: Packers) -> None:
    ground.create(4, shard_bytes=2**20)
    images = ground.render(image=lambda n: _noise(n) if n < 3 else image_file(n))
    packed = ground.seal_all()[0]
    data = [f"data/train-000000{suffix}.tar" for suffix in ("", "_001", "_002")]
    paths = [*data, "index/000000.parquet", "index/000000_stats.json"]
    assert [file["path"] for file in packed.files] == paths
    rows = pq.read_table(io.BytesIO(ground.read(packed.files[3]))).to_pylist()
    assert [row["file"] for row in rows] == [data[0], data[1], data[2], data[2]]
    for row in rows:
        with tarfile.open(fileobj=io.BytesIO(ground.read(packed.files[data.index(row["file"])]))) as tar:
            found = tar.extractfile(row["file_name"])
            assert found is not None
            assert found.read() == images[row["ordinal"]]
    assert [file["path"] for file in ground.stats(packed)["files"]] == paths[:-1]


def _noise(seed: int) -> bytes:
    """A picture of some 790 kB."""
    pixels = np.random.default_rng(seed).integers(0, 256, (512, 512, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("layout", ["imagefolder", "parquet"])
def test_other_layouts_go_the_same_way(ground: Packers, layout: str) -> None:
    ground.create(12, layout=layout)
    images = ground.render()
    done = ground.seal_all()
    assert [one.images for one in done] == [10, 2, 0]
    if layout == "parquet":
        table = pq.read_table(io.BytesIO(ground.read(done[1].files[0]))).to_pylist()
        assert [row["image"]["bytes"] for row in table] == [images[10], images[11]]
    else:
        assert done[1].files[0]["path"] == "data/train-000001.zip"


@pytest.mark.parametrize("change", ["gone", "altered"])
def test_an_image_that_is_not_what_was_made_is_told(ground: Packers, change: str) -> None:
    dataset = ground.create(10)
    ground.render()
    key = ground.rows("SELECT o.key FROM objects o JOIN renders r ON r.id = o.render_id WHERE r.ordinal = 4")[
        0
    ][0]
    if change == "gone":
        ground.store.delete([key])
    else:
        ground.store.put(key, image_file(99), "image/png")
    (claimed,) = ground.seals()
    with pytest.raises(LatentsError, match=key):
        ground.pack(claimed)
    assert not list(ground.store.list_keys(f"v1/datasets/{dataset}/"))
    told = Failure(claimed.render_id, claimed.fence, ErrorClass.LATENTS, "not there")
    ground.repository.transact(lambda c: failing.fail(c, [told]))
    assert ground.rows("SELECT state, stage, tries FROM renders WHERE ordinal < 0") == [(0, 2, 1)]


def test_single_images_go_at_once_when_their_shard_is_committed(ground: Packers) -> None:
    ground.create(10)
    ground.render()
    keys = [key for (key,) in ground.rows("SELECT key FROM objects")]
    ground.seal_all()
    clearing = Clearing(ground.repository, ground.store)
    assert (clearing.clear(), clearing.clear()) == (10, 0)
    assert not ground.rows("SELECT FROM objects")
    assert [ground.store.size(key) for key in keys] == [None] * 10
