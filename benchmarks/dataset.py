"""A manifest of many rows, from the bucket to its sealed shards, with an engine that does nothing: `python -m benchmarks dataset`.

`--rows 1000000` is the long form; it takes an hour and more.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
from redis import Redis

from benchmarks.control_plane import loading
from benchmarks.control_plane.command import run
from benchmarks.datasets.looking_after import Memory
from benchmarks.datasets.reading_back import read_back
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import commit_ms, machine
from benchmarks.measuring.outcome import Outcome
from latentfarm.settings import Settings
from latentfarm.storage import S3Store

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    import psycopg

ASKED = (
    "A dataset of rows with an id and a prompt each, read from the bucket, rendered by an engine that does no work and leaves"
    " 64 bytes, and packed into WebDataset shards by a worker of its own, all on this machine; then every file is read again."
)
SIZES = {
    "rows": (100_000, "of the manifest"),
    "shard": (250, "images of a shard"),
    "bucket": (256, "renders that the worker holds at once"),
}
KEY = "manifests/dataset.jsonl"
SEED = 1_000
LOOK_S = 1.0
PASS_2_S, RUN_S, RSS_MIB = 180.0, 7_200.0, 500.0


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("dataset", __doc__, argv, SIZES, measure)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """The whole life of one dataset."""
    settings = loading.settings(folder / "models", rows=options.bucket)
    settings["LATENTFARM_ENGINE"] = "benchmarks.control_plane.small_engine:load"
    workers = ("base,refine", "seal")
    with farm(folder / "farm", settings, workers=workers) as running, running.connect() as database:
        store = _store(running.environment)
        store.put(KEY, _manifest(options.rows), "application/jsonl")
        with (
            httpx.Client(base_url=running.url, timeout=60) as client,
            Redis.from_url(running.environment["LATENTFARM_REDIS_URL"]) as redis,
        ):
            watch = Watch(database, Memory(running.pids, redis))
            watch.run(client, options)
        result = Outcome("dataset", ASKED, {"machine": machine(), "commit_ms": commit_ms(database)})
        watch.judge(result, options.rows)
        _judge_rows(result, database, store, options)
        return result


def _store(environment: dict[str, str]) -> S3Store:
    values: Any = {
        name.removeprefix("LATENTFARM_").lower(): value
        for name, value in environment.items()
        if name.startswith("LATENTFARM_S3_")
    }
    return S3Store.from_settings(Settings(**values))


def _manifest(rows: int) -> bytes:
    return "".join(
        json.dumps({"id": f"row-{number}", "prompt": f"bird number {number} on a wire"}) + "\n"
        for number in range(rows)
    ).encode()


class Watch:
    """What happened when, in seconds since the manifest was named."""

    def __init__(self, database: psycopg.Connection[Any], memory: Memory) -> None:
        self._database = database
        self._memory = memory
        self.at: dict[str, float] = {}

    def run(self, client: httpx.Client, options: argparse.Namespace) -> None:
        """Hands the manifest in, and looks every second until the dataset has ended."""
        began = time.monotonic()
        asked = {
            "name": "birds",
            "manifest": {"key": KEY},
            "defaults": {"model": "tiny", "num_inference_steps": 20, "width": 64, "height": 64},
            "seed": SEED,
            "shard_samples": options.shard,
        }
        client.post("/v1/datasets", json=asked).raise_for_status()
        while "ended" not in self.at:
            seen = self._seen()
            now = time.monotonic() - began
            for name in seen:
                self.at.setdefault(name, now)
            self._memory.look()
            time.sleep(LOOK_S)

    def _seen(self) -> list[str]:
        row = self._database.execute(
            "SELECT d.phase, d.inserted, j.finished_at, EXISTS (SELECT FROM shards WHERE state = 'sealed')"
            " FROM datasets d LEFT JOIN jobs j ON j.id = d.id"
        ).fetchone()
        if row is None:
            return []
        phase, _, finished, sealed = row
        if phase == "rejected":
            raise RuntimeError("the manifest was refused")
        seen = {
            "checked": phase in ("inserting", "inserted"),
            "inserted": phase == "inserted",
            "first shard": sealed,
            "ended": finished is not None,
        }
        return [name for name, is_so in seen.items() if is_so]

    def judge(self, result: Outcome, rows: int) -> None:
        """Times and memory."""
        at = self.at
        result.figures |= {
            "rows": rows,
            "pass 1, checked and spooled, s": at["checked"],
            "pass 2, rows made renders, s": at["inserted"] - at["checked"],
            "first shard sealed after the start of pass 2, s": at["first shard"] - at["checked"],
            "whole run, s": at["ended"],
            "images/s from the start of pass 2 to the last file": rows / (at["ended"] - at["checked"]),
            "resident MiB at most": self._memory.most_mib,
            "Redis MiB, early and at most": self._memory.redis_mib,
        }
        share = rows / 1_000_000
        result.most("pass 2, s for each million rows", (at["inserted"] - at["checked"]) / share, PASS_2_S)
        result.most("whole run, s for each million rows", at["ended"] / share, RUN_S)
        result.most("largest process, MiB", max(self._memory.most_mib.values()), RSS_MIB)
        result.most("Redis, most over early", self._memory.redis_growth, 1.25)
        result.most("first shard sealed, over the end of pass 2", at["first shard"] / at["inserted"], 1.0)


def _judge_rows(
    result: Outcome, database: psycopg.Connection[Any], store: S3Store, options: argparse.Namespace
) -> None:
    found = read_back(database, store)
    result.figures |= {"shards": found.shards, "bytes of shards": found.size}
    result.least("rows in SQL", found.renders, options.rows)
    result.least("rows in the shards", found.rows, options.rows)
    result.least("different ids", found.ids, options.rows)
    result.least("different seeds", found.seeds, options.rows)
    result.most("digests that are wrong", found.wrong, 0)
    result.most("images that are not those of their seed and prompt", found.strange, 0)
    result.most("single images left behind", found.left, 0)
