"""The top files: every shard with its digests, what became of every image, and a card that the Hub reads."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from huggingface_hub import DatasetCard

from tests.pieces import piece, pieces
from worker.seal.card import card
from worker.seal.makers import Makers
from worker.seal.manifest import Manifest
from worker.seal.packing import pack
from worker.seal.piece import Facts
from worker.seal.run import Model, Run
from worker.seal.shard import Layout, LeftOut, Shard

MODEL = Model("tiny", "owner/tiny", "c" * 40, "ab" * 32, "openrail++")


def run(layout: Layout = Layout.WEBDATASET, **fields: Any) -> Run:
    usual: dict[str, Any] = {"name": "cats.v1", "seed": 5, "fingerprint": "f" * 64, "digest": "d" * 64}
    return Run(**{**usual, "layout": layout, "images": 8, "shard_samples": 4, "models": (MODEL,)} | fields)


def mark(number: int, *ordinals: int, part: int = 0, left_out: tuple[LeftOut, ...] = ()) -> bytes:
    shard = Shard(Layout.WEBDATASET, number, part)
    return pack(shard, iter(pieces(*ordinals)), io.BytesIO(), io.BytesIO()).stats(left_out)


def header_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = DatasetCard(text).data.to_dict()  # type: ignore[no-untyped-call]  # of the Hub's library
    return found


def failed(ordinal: int) -> LeftOut:
    return LeftOut(ordinal, str(ordinal), "failed", "memory")


def test_every_file_has_its_digest() -> None:
    marks = [mark(0, 0, 1, 2, 3), mark(1, 4, 5, 6, 7)]
    found = json.loads(Manifest(run(), marks).content())
    assert [entry["shard"] for entry in found["shards"]] == ["000000", "000001"]
    files = found["shards"][1]["files"]
    assert [one["path"] for one in files] == [
        "data/train-000001.tar",
        "index/000001.parquet",
        "index/000001_stats.json",
    ]
    assert files[:2] == json.loads(marks[1])["files"]
    assert files[2]["sha256"] == hashlib.sha256(marks[1]).hexdigest()
    assert files[2]["size"] == len(marks[1])
    assert found["models"] == [
        {
            "name": "tiny",
            "source": "owner/tiny",
            "revision": "c" * 40,
            "model_hash": "ab" * 32,
            "licence": "openrail++",
            "refiner_hash": "",
        }
    ]


def test_totals_forget_what_a_supplement_has_brought() -> None:
    first = mark(0, 0, left_out=(failed(1), failed(2), LeftOut(3, "3", "dropped", "dark")))
    manifest = Manifest(run(), [first, mark(1, 4, 5, 6, 7)])
    assert manifest.totals()["left_out"] == {"dropped": 1, "failed": 2}
    supplement = mark(0, 1, part=1, left_out=(failed(2),))
    later = Manifest(run(), [supplement, mark(1, 4, 5, 6, 7), first]).totals()
    assert (later["images"], later["shards"], later["left_out"]) == (6, 3, {"dropped": 1, "failed": 1})
    last = mark(0, 2, part=2)
    assert Manifest(run(), [last, supplement, first]).totals()["left_out"] == {"dropped": 1}


def test_the_order_of_marks_does_not_show() -> None:
    marks = [mark(0, 0), mark(1, 4), mark(0, 1, part=1)]
    assert Manifest(run(), marks).content() == Manifest(run(), reversed(marks)).content()


def test_shards_come_once_and_are_of_one_layout() -> None:
    with pytest.raises(ValueError, match="000000 comes twice"):
        Manifest(run(), [mark(0, 0), mark(0, 1)])
    with pytest.raises(ValueError, match="not of layout parquet"):
        Manifest(run(Layout.PARQUET), [mark(0, 0)])


@pytest.mark.parametrize("layout", Layout)
def test_the_hub_reads_the_card(layout: Layout) -> None:
    text = card(Manifest(run(layout), [])).decode()
    header = header_of(text)
    assert header["license"] == ["openrail++"]
    assert header["task_categories"] == ["text-to-image"]
    assert header["size_categories"] == ["n<1K"]
    assert "synthetic" in header["tags"]
    (config,) = header["configs"]
    assert config["data_files"] == [{"split": "train", "path": f"data/train-*.{layout.extension}"}]
    assert f"| model `tiny` | owner/tiny, revision {'c' * 40}, hash {'ab' * 32}, licence openrail++ |" in text


@pytest.mark.parametrize("name", ["1.0", "null", "yes", "2024-01-01", "a"])
def test_a_name_stays_text(name: str) -> None:
    assert header_of(card(Manifest(run(name=name), [])).decode())["pretty_name"] == name


def test_settings_cannot_break_the_table() -> None:
    text = card(Manifest(run(settings={"negative_prompt": "a | b\n\n# c"}), [])).decode()
    assert "| `negative_prompt` | a \\| b # c |" in text.splitlines()


def test_the_card_counts_what_is_missing() -> None:
    text = card(Manifest(run(), [mark(0, 0, left_out=(failed(1),))])).decode()
    assert "1 images made by" in text
    assert "Left out: 1 failed. Marked: none." in text


def test_marks_of_an_earlier_release_tell_of_no_further_seeds() -> None:
    earlier = json.loads(mark(0, 0, 1))
    del earlier["redrawn"], earlier["redrawn_for"]
    totals = Manifest(run(), [json.dumps(earlier).encode()]).totals()
    assert (totals["redrawn"], totals["redrawn_for"]) == (0, {})


def test_a_licence_that_nobody_has_stated_is_not_made_up() -> None:
    models = (MODEL, Model("mine", "folder", "", "cd" * 32, "", "ef" * 32))
    text = card(Manifest(run(models=models), [])).decode()
    assert header_of(text)["license"] == ["openrail++", "unknown"]
    assert f"| folder, hash {'cd' * 32}, refiner hash {'ef' * 32}, licence not stated |" in text
    assert "| unknown source, licence not stated |" in card(Manifest(run(models=(Model("x"),)), [])).decode()


def test_hashes_are_those_of_the_images() -> None:
    makers = Makers()
    for hashes in (("ab" * 32, ""), ("cd" * 32, "ef" * 32), ("ab" * 32, "")):
        index = io.BytesIO()
        facts = Facts(model_hash=hashes[0], refiner_hash=hashes[1])
        pack(Shard(Layout.WEBDATASET, 0), iter([piece(0, facts=facts)]), io.BytesIO(), index)
        makers.add(index.getvalue())
    model = piece(0).picture["model"]
    assert makers.hashes() == {model: (f"{'ab' * 32} and {'cd' * 32}", "ef" * 32)}
