"""`Prefer: wait=N` of a real API: the finished job, or 202 as without it; who waits holds nothing that others need."""

from __future__ import annotations

import functools
import json
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from latentfarm.client import Client
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SPEC = {"prompt": "a red circle", "num_inference_steps": 4, "seed": 1}


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    """Of an API with few connections to the database."""
    few = settings.model_copy(update={"database_pool": 3})
    limits = httpx.Limits(max_connections=None)
    with serve(few) as url, httpx.Client(base_url=url, timeout=120, limits=limits) as client:
        yield client


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def jobs(repository: Repository) -> int:
    return int(repository.transact(lambda c: c.execute(text("SELECT count(*) FROM jobs")).scalar_one()))


def streams(http: httpx.Client) -> float:
    """Who watches a job in this API."""
    lines = http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("latentfarm_event_streams ")).split()[1])


def watched(http: httpx.Client, number: int) -> bool:
    return streams(http) == number


def post(http: httpx.Client, wait: str, **fields: object) -> httpx.Response:
    return http.post("/v1/jobs", json={**SPEC, **fields}, headers={"Prefer": wait})


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
def test_a_job_that_ends_in_time_is_the_answer(
    http: httpx.Client, repository: Repository, store: S3Store, lane: str
) -> None:
    puppet = Puppet(repository, store)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, http, "respond-async, wait=60", lane=lane)
        until(lambda: jobs(repository) == 1)
        puppet.finish(puppet.claim())
        answer = asked.result()
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")
    assert answer.json()["state"] == "succeeded"
    assert answer.json()["images"][0]["size"]
    assert answer.headers["location"] == answer.json()["url"]
    assert "retry-after" not in answer.headers


def test_a_job_that_does_not_is_answered_as_without(http: httpx.Client) -> None:
    answer = post(http, "wait=1")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    assert (answer.json()["state"], answer.headers["retry-after"]) == ("queued", "1")
    assert "preference-applied" not in post(http, "respond-async").headers


def test_a_job_that_ended_before_is_the_answer_at_once(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    key = {"Idempotency-Key": "k"}
    http.post("/v1/jobs", json=SPEC, headers=key)
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim())
    again = http.post("/v1/jobs", json=SPEC, headers={**key, "Prefer": "wait=60"})
    assert (again.status_code, again.json()["state"]) == (200, "succeeded")
    assert again.headers["idempotency-replayed"] == "true"


def test_a_wait_that_is_none_is_refused_and_stores_nothing(
    http: httpx.Client, repository: Repository
) -> None:
    refused = post(http, "wait=61")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "Prefer")
    assert jobs(repository) == 0


def test_many_who_wait_take_no_connections(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    """Many more than there are connections. They come a few at a time."""
    many = 12
    puppet = Puppet(repository, store)
    asked: list[Future[httpx.Response]] = []
    with ThreadPoolExecutor(many) as pool:
        for waiting in range(2, many + 1, 2):
            asked += [pool.submit(post, http, "wait=60") for _ in range(2)]
            until(functools.partial(watched, http, waiting))
        assert http.get("/v1/jobs").status_code == 200
        puppet.show(puppet.claim())
        assert {one.result().status_code for one in asked} == {200}
    until(lambda: streams(http) == 0)


def test_who_hangs_up_leaves_nothing_behind(http: httpx.Client, repository: Repository) -> None:
    body = json.dumps(SPEC)
    head = (
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nPrefer: wait=60\r\n"
    )
    with socket.create_connection((http.base_url.host, http.base_url.port or 0)) as line:
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: streams(http) == 1)
    until(lambda: streams(http) == 0)
    assert jobs(repository) == 1


def test_the_client_waits_too(http: httpx.Client, repository: Repository, store: S3Store) -> None:
    puppet = Puppet(repository, store)
    with Client(str(http.base_url), timeout=30) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.submit, SPEC, wait_s=60)
        until(lambda: jobs(repository) == 1)
        puppet.show(puppet.claim())
        assert asked.result().state == "succeeded"
        assert client.submit(SPEC, wait_s=1).state == "queued"
