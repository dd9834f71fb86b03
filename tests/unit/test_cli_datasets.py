"""`latentfarm dataset` without an API: what is read, what is shown, and where files may go."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.cli.dataset_create import default_options
from latentfarm.cli.dataset_options import lists, pairs
from latentfarm.cli.dataset_shown import duration, rows_of, size_of
from latentfarm.cli.dataset_watch import Pace, line_of
from latentfarm.client_pull import place
from latentfarm.client_verify import rows_of as rows_in
from latentfarm.dataset_views import DatasetView
from latentfarm.errors import InvalidInput, LatentfarmError
from latentfarm.manifests.defaults import row_defaults
from latentfarm.manifests.request import DatasetRequest


def view(**fields: Any) -> DatasetView:
    counts = {
        "images": 10, "inserted": 10, "queued": 2, "ended": 6, "failed": 3, "packed": 4, "shards": 3, "sealed": 1,
    }  # fmt: skip
    usual: dict[str, Any] = {
        "id": UUID(int=1),
        "name": "birds",
        "state": "running",
        "phase": "inserted",
        "counts": counts,
        "seed": 7,
        "created_at": datetime(2030, 1, 1, tzinfo=UTC),
        "url": "http://x",
        "layout": "webdataset",
        "shard_samples": 4,
        "failures": {"memory": 2, "user": 1},
        "failed_shards": [],
        "rate": {"images_per_second": 2.0, "eta_s": 2.0, "basis": "6 images"},
        "device_seconds": 12.5,
        "metadata": {},
    }
    return DatasetView.model_validate(usual | fields)


def test_values_of_sweeps_are_numbers_texts_and_lists() -> None:
    found = lists("--sweep-product", ["guidance_scale=3,5.5", "sampler=euler, ddim", 'prompt=["a, b", "c"]'])
    assert found == {
        "guidance_scale": [3, 5.5],
        "sampler": ["euler", "ddim"],
        "prompt": ["a, b", "c"],
    }
    assert lists("--wildcard", ["number=1,2"], texts=True) == {"number": ["1", "2"]}
    with pytest.raises(InvalidInput, match="no JSON list"):
        lists("--sweep-zip", ["prompt=[a"])
    with pytest.raises(InvalidInput, match="KEY=VALUE"):
        pairs("--metadata", ["a"])


def test_every_option_for_all_rows_is_a_field_that_rows_may_have() -> None:
    for option in default_options():
        request = DatasetRequest.model_validate(
            {"name": "x", "manifest": {"prompts": ["a"]}, "defaults": {option.path[0]: None}}
        )
        try:
            row_defaults(request)
        except InvalidInput as error:  # the value is not right, and the field is
            assert error.message not in ("unknown field", "not_supported"), option.path  # noqa: PT017
            assert error.code != "not_supported", option.path  # noqa: PT017


def test_the_pace_is_that_of_the_last_minute() -> None:
    pace = Pace()
    assert pace.rate() is None
    pace.take(0, 0)
    assert pace.rate() is None
    pace.take(10, 100)
    assert pace.rate() == 10
    for second in range(20, 200, 10):
        pace.take(second, 100 + 2 * (second - 10))
    assert pace.rate() == 2
    pace.take(200, 50)  # failed images were queued again
    assert pace.rate() is None


def test_a_dataset_is_told_in_lines() -> None:
    assert line_of(view(), 4.0) == (
        "running, 6/10 images, 1/3 shards, 4.00 images/s, 1 s left, 2 failed: memory, 1 failed: user"
    )
    assert "2.00 images/s, 2 s left" in line_of(view(), None)
    assert "images/s" not in line_of(view(state="paused"), 4.0)
    error = {"line": 3, "field": "width", "message": "odd", "allowed": "a multiple of 8"}
    shown = dict(rows_of(view(state="rejected", phase="rejected", error=error)))
    assert shown["refused"] == "line 3: width: odd (allowed: a multiple of 8)"
    assert shown["failed"] == "3 (2 memory, 1 user)"
    counts = view().counts.model_dump() | {"redrawn": 5}
    assert dict(rows_of(view(counts=counts)))["another seed"] == "5 times, for what checks found"
    assert "another seed" not in dict(rows_of(view()))
    assert dict(rows_of(view(phase="inserting")))["state"] == "running (rows are coming in)"


def test_a_dataset_has_ended_when_its_rows_are_in_too() -> None:
    assert view(state="succeeded").is_final
    assert not view(state="succeeded", phase="checking").is_final
    assert not view(state="running").is_final


def test_durations_and_sizes_are_read_by_people() -> None:
    assert [duration(seconds) for seconds in (12.4, 200, 3725)] == ["12 s", "3 min 20 s", "1 h 02 min"]
    assert [size_of(number) for number in (12, 2048, 5 * 2**30)] == ["12 bytes", "2 KiB", "5 GiB"]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "C:x", "a\\..\\x"])
def test_no_file_leads_out_of_the_folder(path: str) -> None:
    with pytest.raises(LatentfarmError, match="leads out"):
        place(Path("out"), path)


@given(st.text(alphabet="ab./\\:", max_size=12))
def test_whatever_the_farm_names_stays_in_the_folder(path: str) -> None:
    try:
        found = place(Path("/out"), path)
    except LatentfarmError:
        return
    assert found.resolve().is_relative_to("/out")


def test_samples_of_a_tar_are_counted_by_their_json() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("0.png", "0.json", "0.txt", "1.png", "1.json", "1.txt"):
            archive.addfile(tarfile.TarInfo(name))
    assert rows_in("data/train-000000.tar", file) == 2
    assert rows_in("index/000000_stats.json", file) is None
