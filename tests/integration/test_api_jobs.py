from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from api.routes_jobs import IMAGES_PAGE
from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.repository import submitting
from latentfarm.spec import RenderSpec
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SPEC: dict[str, Any] = {
    "prompt": "a red circle",
    "num_inference_steps": 4,
    "num_images": 3,
    "seed": 2**53 - 2,
}


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def count(repository: Repository, table: str) -> int:
    return int(repository.transact(lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()))


def test_a_job_is_accepted_dispatched_and_shown(
    http: httpx.Client, repository: Repository, broker: Broker
) -> None:
    answer = http.post("/v1/jobs", json={**SPEC, "metadata": {"order": "ünï ✓"}})
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["location"] == accepted["url"]
    assert accepted["url"] == str(http.base_url.join(f"/v1/jobs/{accepted['id']}"))
    assert accepted["state"] == "queued"
    until(lambda: broker.length("base.tiny.interactive") > 0)
    shown = http.get(answer.headers["location"]).json()
    assert shown["spec"] == {
        **shown["spec"],
        **SPEC,
        "width": 128,
        "height": 128,
        "sampler": "euler",
        "metadata": {"order": "ünï ✓"},
    }
    assert [image["seed"] for image in shown["images"]] == [2**53 - 2, 2**53 - 1, 0]
    assert shown["counts"]["dispatched"] == shown["remaining"] == 3
    assert count(repository, "renders") == 3


def test_a_seed_is_drawn_and_reported(http: httpx.Client) -> None:
    seeds = {http.post("/v1/jobs", json={"prompt": "a"}).json()["seed"] for _ in range(5)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**53 for seed in seeds)


def test_the_life_of_a_job_shows_in_its_record(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    url = http.post("/v1/jobs", json=SPEC).headers["location"]
    puppet = Puppet(repository, store)
    claimed = puppet.claim()
    running = http.get(url).json()
    assert (running["state"], running["counts"]["running"]) == ("running", 3)
    files = puppet.finish(claimed[:2])
    puppet.fail(claimed[2:], ErrorClass.USER, "no such thing")
    ended = http.get(url).json()
    assert (ended["state"], ended["failed"], ended["remaining"]) == ("failed", 1, 0)
    assert ended["finished_at"] > ended["started_at"] > ended["created_at"]
    assert [image["size"] for image in ended["images"]] == [len(files[0]), len(files[1]), None]
    assert ended["images"][2]["error"] == "user: no such thing"
    assert ended["images"][2]["state"] == "failed"


def test_images_come_in_pages(http: httpx.Client) -> None:
    url = http.post("/v1/jobs", json={**SPEC, "num_images": 230}).headers["location"]
    first = http.get(url)
    assert len(first.content) < 65_536
    assert (len(first.json()["images"]), first.json()["images_next"]) == (IMAGES_PAGE, IMAGES_PAGE)
    last = http.get(url, params={"images_from": 200}).json()
    assert [image["index"] for image in last["images"]] == list(range(200, 230))
    assert last["images_next"] is None
    assert http.get(url, params={"images_from": 230}).json()["images"] == []


def test_the_list_is_read_page_by_page_while_jobs_come_in(http: httpx.Client) -> None:
    ids = [http.post("/v1/jobs", json=SPEC).json()["id"] for _ in range(5)]
    page = http.get("/v1/jobs", params={"limit": 2}).json()
    http.post("/v1/jobs", json=SPEC)
    seen = [job["id"] for job in page["data"]]
    while page["has_more"]:
        page = http.get("/v1/jobs", params={"limit": 2, "after": page["next_cursor"]}).json()
        seen += [job["id"] for job in page["data"]]
    assert seen == ids[::-1]
    assert page["next_cursor"] is None


def test_another_tenant_has_no_such_job(http: httpx.Client, repository: Repository) -> None:
    spec = RenderSpec(prompt="secret", width=64, height=64, seed=1)
    job_id = new_id()
    repository.add_job(job_id, spec, tenant="somebody")
    assert http.get(f"/v1/jobs/{job_id}").status_code == 404
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 404
    assert http.get(f"/v1/jobs/{job_id}/images/0").status_code == 404
    assert http.get(f"/v1/jobs/{job_id}/events").status_code == 404
    assert http.get("/v1/jobs").json()["data"] == []


def test_cancel_ends_what_lives_and_leaves_what_has_ended(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    url = http.post("/v1/jobs", json=SPEC).headers["location"]
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim()[:1])
    cancelled = http.post(f"{url}/cancel").json()
    assert cancelled["state"] == "cancelled"
    assert (cancelled["counts"]["succeeded"], cancelled["counts"]["cancelled"]) == (1, 2)
    assert http.post(f"{url}/cancel").json() == cancelled
    assert http.post(f"/v1/jobs/{new_id()}/cancel").status_code == 404


def test_the_same_key_and_body_replay_the_answer(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    first = http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim())
    again = http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert count(repository, "jobs") == 1


def test_the_same_key_with_another_body_is_refused(http: httpx.Client, repository: Repository) -> None:
    http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    other = http.post("/v1/jobs", json={"prompt": "b"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    assert other.json()["type"] == "urn:latentfarm:problem:idempotency_mismatch"
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert count(repository, "jobs") == 1


def test_racing_calls_with_one_key_make_one_job(http: httpx.Client, repository: Repository) -> None:
    def post(key: int) -> httpx.Response:
        return http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": f"key {key}"})

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(post, [number % 4 for number in range(128)]))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 4
    assert count(repository, "jobs") == count(repository, "renders") == 4


def test_a_call_that_races_a_slow_one_waits_and_then_conflicts(
    http: httpx.Client, repository: Repository
) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with repository.engine.begin() as connection:
            submitting.remember_key(connection, "", "slow", b"x", new_id())
            held.set()
            release.wait(30)
            connection.rollback()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10)
        answer = http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "slow"})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:latentfarm:problem:conflict"
        assert int(answer.headers["retry-after"]) > 0
        assert answer.elapsed.total_seconds() >= 2
    finally:
        release.set()
        holder.join()
    assert http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "slow"}).status_code == 202


def test_refused_specs_leave_no_row(http: httpx.Client, repository: Repository) -> None:
    for bad in ({"prompt": "a", "width": 1000}, {"prompt": "a", "sampler": "x"}, {"prompt": "a\0"}):
        assert http.post("/v1/jobs", json=bad, headers={"Idempotency-Key": "k"}).status_code == 422
    assert [count(repository, table) for table in ("jobs", "specs", "renders", "idempotency")] == [0] * 4
