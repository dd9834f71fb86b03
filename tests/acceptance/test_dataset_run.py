"""Datasets in a farm of real processes, from the manifest to files that stock readers open."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest

from latentfarm import Client
from latentfarm.client_pull import pull
from tests.acceptance.farm import family, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

SMALL: dict[str, Any] = {"model": "tiny", "width": 64, "height": 64, "num_inference_steps": 4}
SHORT = {"LATENTFARM_LEASE_S": "3", "LATENTFARM_RENEW_S": "0.5"}
DEATHS = 5


def _start(farm: Farm, **variables: str) -> None:
    farm.scheduler(**variables)
    farm.worker("base,refine", **variables)
    farm.worker("seal", **variables)
    farm.api(**variables)


def _kill(farm: Farm) -> None:
    """Everything at once, children too, without a word."""
    for process in farm.processes:
        for one in family(process.pid):
            one.kill()
    for process in farm.processes:
        process.wait()


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of all indexes."""
    tables = [pyarrow.parquet.read_table(path) for path in sorted((folder / "index").glob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize("rows", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_run_that_is_killed_five_times_has_every_row_once(farm: Farm, tmp_path: Path, rows: int) -> None:
    prompts = [f"bird {number}" for number in range(rows)]
    asked = {
        "name": "birds",
        "manifest": {"rows": [{"id": f"b{number}", "prompt": text} for number, text in enumerate(prompts)]},
        "defaults": SMALL,
        "seed": 5,
        "shard_samples": rows // 10,
    }
    _start(farm, **SHORT)
    with Client(farm.url) as client:
        client.datasets.create(asked)
        ended = "SELECT coalesce(sum(count - remaining), 0) FROM shards WHERE number >= 0"
        for death in range(DEATHS):
            share = (death + random.random()) / DEATHS * 0.9
            until("the run is further", lambda: farm.count(ended) >= share * rows, 600)  # noqa: B023
            _kill(farm)
            _start(farm, **SHORT)
        farm.wait_done(1200)
        shown = client.datasets.get("birds")
        assert (shown.state, shown.counts.ended, shown.counts.packed) == ("succeeded", rows, rows)
        pulled = pull(client.datasets, "birds", tmp_path / "birds", lambda _: None)
        assert not pulled.wrong
    found = _rows(tmp_path / "birds")
    assert sorted(row["id"] for row in found) == sorted(f"b{number}" for number in range(rows))
    assert {row["id"]: (row["prompt"], row["seed"]) for row in found} == {
        f"b{number}": (text, 5 + number) for number, text in enumerate(prompts)
    }
    assert farm.count("SELECT count(*) FROM renders WHERE ordinal >= 0") == rows
