"""Devices and queues that an operator has drained get nothing new until they are resumed."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.database import connect
from latentfarm.dispatch import WINDOW
from latentfarm.repository import dispatching, draining
from latentfarm.repository.facade import Repository
from tests.integration.device import Device, column
from tests.integration.serving import Puppet, serve
from worker.standby import Standby

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.records import Queue
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

BULK = "base.tiny.bulk"
DISPATCHED = "SELECT id FROM renders WHERE state = 1"


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def submit(http: httpx.Client, lane: str = "bulk", n: int = 4) -> None:
    answer = http.post("/v1/jobs", json={"prompt": "a", "lane": lane, "num_images": n})
    assert answer.status_code == 202, answer.text


def queue_of(repository: Repository, name: str = BULK) -> Queue:
    return next(queue for queue in repository.queues() if queue.name == name)


def pick(repository: Repository, name: str = BULK) -> int:
    return len(repository.pick(queue_of(repository, name), window_per_worker=WINDOW).picks)


def test_out_of_a_drained_queue_nothing_more_is_sent(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    submit(http)
    puppet = Puppet(repository, store)
    claimed = puppet.claim(2)
    shown = http.post(f"/v1/queues/{BULK}/drain").json()
    assert (shown["name"], shown["drained_at"] is not None) == (BULK, True)
    submit(http)
    assert pick(repository) == 0
    # What was sent runs out, and what fails on the way waits like all else.
    assert len(puppet.claim()) == 2
    puppet.finish(claimed)
    again = http.post(f"/v1/queues/{BULK}/drain").json()
    assert again["drained_at"] == shown["drained_at"]
    listed = {one["name"]: one for one in http.get("/v1/queues").json()["data"]}[BULK]
    assert (listed["queued"], listed["dispatched"], listed["running"]) == (4, 0, 2)
    assert http.post(f"/v1/queues/{BULK}/resume").json()["drained_at"] is None
    assert pick(repository) == 4


def test_an_interactive_job_waits_in_a_drained_queue_too(http: httpx.Client, repository: Repository) -> None:
    submit(http, "interactive")
    name = "base.tiny.interactive"
    before = column(repository, DISPATCHED)
    assert before
    http.post(f"/v1/queues/{name}/drain")
    submit(http, "interactive")
    assert pick(repository, name) == 0
    assert column(repository, DISPATCHED) == before


def test_an_unknown_queue_is_told_with_those_that_there_are(http: httpx.Client) -> None:
    submit(http)
    answer = http.post("/v1/queues/base.tiny.bulky/drain")
    assert answer.status_code == 404
    assert BULK in answer.json()["detail"]
    assert http.post("/v1/queues/a%00b/drain").status_code == 404


def test_a_drained_device_has_no_part_in_the_window(http: httpx.Client, repository: Repository) -> None:
    Device(repository, "cuda:0")
    Device(repository, "cuda:1")
    submit(http)

    def workers() -> int:
        queue = queue_of(repository)
        return repository.transact(lambda c: dispatching.room(c, queue, least=WINDOW)).workers

    assert workers() == 2
    assert http.post("/v1/workers/drain", json={"worker": "cuda:1"}).status_code == 200
    assert workers() == 1
    metrics = http.get("/metrics").text
    assert "latentfarm_devices_drained 1.0" in metrics
    assert f'latentfarm_queue_window{{queue="{BULK}"}} {WINDOW}.0' in metrics
    http.post("/v1/workers/resume", json={"worker": "cuda:1"})
    assert workers() == 2


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("id", ["a/cuda:0"]),
        ("a", ["a/cuda:0", "a/cuda:1"]),
        ("cuda:1", ["a/cuda:1", "b/cuda:1"]),
        ("b/cuda:1", ["b/cuda:1"]),
    ],
)
def test_workers_are_named_by_id_host_device_or_both(
    http: httpx.Client, repository: Repository, name: str, meant: list[str]
) -> None:
    first = Device(repository, "cuda:0", host="a")
    Device(repository, "cuda:1", host="a")
    other = Device(repository, "cuda:1", host="b")
    named = str(first.worker) if name == "id" else name

    def drained(action: str) -> list[str]:
        answer = http.post(f"/v1/workers/{action}", json={"worker": named}).json()["data"]
        assert {one["state"] for one in answer} == {"draining" if action == "drain" else "ready"}
        return [f"{one['host']}/{one['device']}" for one in answer]

    assert drained("drain") == meant
    assert drained("drain") == meant
    assert drained("resume") == meant
    # A device that nobody serves at this moment keeps its mark, and can be named.
    http.post("/v1/workers/drain", json={"worker": "b/cuda:1"})
    repository.end_worker(other.worker, "drained")
    device = next(one for one in http.get("/v1/workers").json()["data"] if one["host"] == "b")
    assert (device["id"], device["state"], device["running"]) == (None, "drained", 0)
    assert http.post("/v1/workers/resume", json={"worker": "b"}).json()["data"] == []
    assert not repository.transact(lambda c: draining.is_drained(c, "b", "cuda:1"))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"worker": "nobody"}, 404),
        ({"worker": "a\x00"}, 422),
        ({"worker": ""}, 422),
        ({}, 422),
        ({"host": "a"}, 422),
    ],
)
def test_what_names_no_worker_is_refused(http: httpx.Client, body: dict[str, Any], status: int) -> None:
    assert http.post("/v1/workers/drain", json=body).status_code == status


def test_the_mark_outlives_restarts_and_a_database_that_is_away(repository: Repository) -> None:
    Device(repository, "cuda:0")
    standby = Standby(repository, "h", "cuda:0", every_s=0.01)
    assert not standby.look()
    repository.transact(lambda c: draining.set_drained(c, [("h", "cuda:0")], drained=True))
    assert standby.look()
    standby._repository = Repository(connect("postgresql+psycopg://x@127.0.0.1:1/x", pool=1, application="x"))
    assert standby.look()
    assert Standby(repository, "h", "cuda:0", every_s=0.01).look()
    assert not Standby(repository, "h", "cuda:1", every_s=0.01).look()


def test_a_device_rests_until_it_is_resumed(repository: Repository) -> None:
    Device(repository, "cuda:0")
    repository.transact(lambda c: draining.set_drained(c, [("h", "cuda:0")], drained=True))
    standby = Standby(repository, "h", "cuda:0", every_s=0.01)
    resting = threading.Thread(target=standby.rest, args=(threading.Event(),))
    resting.start()
    resting.join(0.3)
    assert resting.is_alive()
    repository.transact(lambda c: draining.set_drained(c, [("h", "cuda:0")], drained=False))
    resting.join(30)
    assert not resting.is_alive()
    stopping = threading.Event()
    stopping.set()
    repository.transact(lambda c: draining.set_drained(c, [("h", "cuda:0")], drained=True))
    standby.rest(stopping)


def test_the_commands_say_what_is_drained(url: str, http: httpx.Client, repository: Repository) -> None:
    Device(repository, "cuda:0", host="node-7")
    submit(http)

    def run(*words: str) -> str:
        ran = CliRunner().invoke(app, [*words, "--api", url])
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    assert "drained since" not in run("status")
    assert "draining" in run("drain", "worker", "node-7")
    assert "drained since" in run("drain", "queue", BULK)
    shown = run("status")
    assert shown.count("drained since") == 2
    both = json.loads(run("status", "--json"))
    assert [one["host"] for one in both["workers"]] == ["node-7"]
    assert "ready" in run("resume", "worker", "node-7/cuda:0")
    assert "drained since" not in run("resume", "queue", BULK)
    failed = CliRunner().invoke(app, ["drain", "worker", "node-8", "--api", url])
    assert failed.exit_code == 1
