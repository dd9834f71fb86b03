"""What the API answers while a service it stands on is dead or stuck."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from sqlalchemy import text

from api import app as application
from api import patient
from api.deadline import Deadline
from tests.integration.gate import Gate
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

PATIENCE_S = 3.0


def gated(url: str) -> tuple[Gate, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    gate = Gate(parts.hostname, parts.port)
    netloc = parts.netloc.replace(f":{parts.port}", f":{gate.port}")
    return gate, urlunsplit(parts._replace(netloc=netloc))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(app: object) -> Deadline:
        return Deadline(app, PATIENCE_S)  # type: ignore[arg-type]

    monkeypatch.setattr(application, "Deadline", made)
    # What a request takes until it begins to wait must fit between the two, on a machine that is busy, too.
    monkeypatch.setattr(patient, "LOOK_S", 0.5)


@pytest.fixture
def database(settings: Settings) -> Iterator[tuple[httpx.Client, Gate]]:
    gate, url = gated(settings.database_url)
    with (
        gate,
        serve(settings.model_copy(update={"database_url": url})) as api,
        httpx.Client(base_url=api) as http,
    ):
        yield http, gate


@pytest.fixture
def redis(settings: Settings) -> Iterator[tuple[httpx.Client, Gate]]:
    gate, url = gated(settings.redis_url)
    with (
        gate,
        serve(settings.model_copy(update={"redis_url": url})) as api,
        httpx.Client(base_url=api) as http,
    ):
        yield http, gate


def away(http: httpx.Client, method: str, path: str) -> bool:
    """Asks, and expects a problem that says to come again, within the deadline and a little."""
    started = time.monotonic()
    answer = http.request(method, path, json={"prompt": "a"}, timeout=30)
    assert time.monotonic() - started < PATIENCE_S + 3
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == problem["status"] == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "psycopg" not in answer.text
    return True


@pytest.mark.parametrize("way", ["close", "freeze"])
def test_without_the_database_every_route_says_so_in_time(
    database: tuple[httpx.Client, Gate], way: str
) -> None:
    http, gate = database
    url = http.post("/v1/jobs", json={"prompt": "a"}).headers["location"]
    getattr(gate, way)()
    requests = [("GET", path) for path in (url, "/v1/jobs", f"{url}/images/0", f"{url}/events", "/v1/models")]
    requests += [("POST", "/v1/jobs"), ("POST", f"{url}/cancel")]
    with ThreadPoolExecutor(len(requests)) as pool:
        assert all(pool.map(lambda request: away(http, *request), requests))
    assert http.get("/healthz").status_code == 200
    (gate.reopen if way == "close" else gate.thaw)()
    end = time.monotonic() + 30
    while http.get(url, timeout=30).status_code != 200:
        assert time.monotonic() < end
    # What was answered too late may yet be done: a frozen database has got the cancel.
    assert http.get(url).json()["state"] in (["queued"] if way == "close" else ["queued", "cancelled"])


@pytest.mark.parametrize("way", ["close", "freeze"])
def test_who_waits_for_a_job_has_it_though_the_database_goes_away(
    database: tuple[httpx.Client, Gate], repository: Repository, way: str
) -> None:
    http, gate = database
    with ThreadPoolExecutor(1) as pool:
        headers = {"Prefer": "wait=3"}
        asked = pool.submit(http.post, "/v1/jobs", json={"prompt": "a"}, headers=headers, timeout=60)
        end = time.monotonic() + 30
        while "latentfarm_event_streams 1.0" not in http.get("/metrics", timeout=30).text:
            assert time.monotonic() < end
        getattr(gate, way)()
        answer = asked.result()
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=3")
    stored = repository.transact(lambda c: c.execute(text("SELECT id FROM jobs")).scalar_one())
    assert answer.json()["id"] == str(stored)


def test_a_stuck_database_is_survived_by_the_threads(database: tuple[httpx.Client, Gate]) -> None:
    http, gate = database
    gate.freeze()
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: http.get("/v1/jobs", timeout=60), range(60)))
    assert {answer.status_code for answer in answers} == {503}
    gate.thaw()
    end = time.monotonic() + 30
    while http.get("/v1/jobs", timeout=30).status_code != 200:
        assert time.monotonic() < end


def test_readiness_names_what_is_missing(database: tuple[httpx.Client, Gate]) -> None:
    http, gate = database
    ready = http.get("/readyz", timeout=30)
    assert ready.status_code == 200
    assert [check["name"] for check in ready.json()["checks"]] == [
        "database",
        "migrations",
        "redis",
        "object store",
    ]
    gate.close()
    answer = http.get("/readyz", timeout=30)
    assert answer.status_code == 503
    assert [check["ok"] for check in answer.json()["checks"]] == [False, False, True, True]
    assert "latentfarm_database_up 0.0" in http.get("/metrics", timeout=30).text


@pytest.mark.parametrize("way", ["close", "freeze"])
def test_without_redis_jobs_are_accepted_all_the_same(
    redis: tuple[httpx.Client, Gate], broker: Broker, way: str
) -> None:
    http, gate = redis
    getattr(gate, way)()
    for _ in range(3):
        answer = http.post("/v1/jobs", json={"prompt": "a"}, timeout=30)
        assert answer.status_code == 202
        assert answer.elapsed.total_seconds() < PATIENCE_S
    assert broker.length("base.tiny.interactive") == 0
    assert len(http.get("/v1/jobs").json()["data"]) == 3
