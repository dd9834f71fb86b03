"""What the benchmarks of the control plane make of their figures, and how they reach what they measure."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import backlog, submit
from benchmarks.control_plane import loading, rows
from benchmarks.control_plane.depth import Depth
from benchmarks.plain.running import broker_url
from benchmarks.rtt import Way
from latentfarm.ids import new_id
from latentfarm.registry import load_registry

SHALLOW = Depth(1000, 100.0, 10.0, 20.0, 1.0, 5, {"api": 100.0, "worker0-base": 200.0})


def test_a_slower_commit_slows_the_loop_and_hardly_the_farm() -> None:
    assert submit.slower(1000.0, 1.0) == 500.0
    found = {"http": [50_000.0], "records": [1.0], "copy": [100_000.0], "loop": [1000.0]}
    outcome = submit.outcome(found, commit=1.0)
    assert outcome.bounds.keys() == {"HTTP / COPY"}
    assert outcome.figures["HTTP / loop"].median == 50
    assert outcome.figures["HTTP / loop, were a commit 2 ms"].median == pytest.approx(100, rel=0.06)


def test_the_loop_is_a_bound_where_commits_are_slow() -> None:
    found = {"http": [50_000.0], "records": [1.0], "copy": [100_000.0], "loop": [2000.0]}
    assert submit.outcome(found, commit=2.5).bounds["HTTP / loop"]["met"] is False


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({}, set()),
        ({"renders_s": 79.0}, {"time per render"}),
        ({"submit_p99_ms": 12.6}, {"submit p99"}),
        ({"claim_p99_ms": 25.1}, {"claim p99"}),
        ({"redis_mib": 1.2}, {"memory of Redis"}),
        ({"rss_mib": {"api": 111.0, "worker0-base": 200.0}}, {"memory of api"}),
    ],
)
def test_a_deep_backlog_is_held_against_a_shallow_one(changed: dict[str, Any], broken: set[str]) -> None:
    deep = dataclasses.replace(SHALLOW, count=10_000, **changed)
    bounds = backlog.outcome([SHALLOW, deep], SHALLOW).bounds
    assert {name.partition(",")[0] for name, bound in bounds.items() if not bound["met"]} == broken


def test_rows_are_written_as_copy_reads_them() -> None:
    job = new_id()
    assert rows.lines(job, 3, 4, 2).decode().splitlines() == [
        f"{job}\t3\t1\t0\t4\t0\t0",
        f"{job}\t3\t2\t1\t4\t0\t0",
    ]


def test_the_list_of_models_names_one_with_the_rows_that_were_asked_for(tmp_path: Any) -> None:
    settings = loading.settings(tmp_path, rows=64)
    entry = load_registry(tmp_path / "models.toml").get("tiny")
    assert (entry.bucket, entry.here) == (64, True)
    assert settings["LATENTFARM_MODELS_FILE"] == str(tmp_path / "models.toml")


def test_the_way_to_redis_leads_through_the_proxy_and_keeps_the_password() -> None:
    board = SimpleNamespace(add=lambda *given: SimpleNamespace(port=7000, given=given))
    way = Way(cast("Any", board))
    led = way.lead({"LATENTFARM_REDIS_URL": "redis://:a@127.0.0.1:6379/0", "OTHER": "1"})
    assert led == {"LATENTFARM_REDIS_URL": "redis://:a@127.0.0.1:7000/0", "OTHER": "1"}
    assert cast("Any", way.link).given == ("redis", "127.0.0.1", 6379)
    assert way.lead(led | {"LATENTFARM_REDIS_URL": "redis://:a@127.0.0.1:6379/0"}) == led


def test_plain_celery_has_a_database_of_its_own() -> None:
    assert broker_url("redis://:a@127.0.0.1:6379/0") == "redis://:a@127.0.0.1:6379/1"
