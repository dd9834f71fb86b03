"""Tenants over HTTP: a header on loopback, rows of one's own, limits, pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from latentfarm.client_http import error_of
from latentfarm.errors import TooMuchQueued
from latentfarm.repository import tenancy, tenants
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

A, B = {"X-Latentfarm-Tenant": "a"}, {"X-Latentfarm-Tenant": "b"}


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def submit(http: httpx.Client, headers: dict[str, str], n: int = 1, **fields: Any) -> httpx.Response:
    body = {"prompt": "x", "lane": "bulk", "num_images": n, **fields}
    return http.post("/v1/jobs", json=body, headers=headers)


def do(repository: Repository, sql: str, **values: Any) -> None:
    repository.transact(lambda c: c.execute(text(sql), values))


def test_a_tenant_sees_and_touches_its_own_jobs_only(http: httpx.Client) -> None:
    job = submit(http, A).json()["id"]
    for headers in (B, {}):
        assert http.get(f"/v1/jobs/{job}", headers=headers).status_code == 404
        assert http.get("/v1/jobs", headers=headers).json()["data"] == []
        for action in ("cancel", "pause", "resume"):
            assert http.post(f"/v1/jobs/{job}/{action}", headers=headers).status_code == 404
    found = http.get(f"/v1/jobs/{job}", headers=A).json()
    assert (found["state"], found["paused_at"]) == ("queued", None)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é".encode("latin-1"), "a" * 65, "a,b"])
def test_what_is_no_name_is_refused_and_nothing_is_stored(http: httpx.Client, name: str | bytes) -> None:
    answer = http.post("/v1/jobs", json={"prompt": "x"}, headers={"X-Latentfarm-Tenant": name})  # type: ignore[arg-type]
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "X-Latentfarm-Tenant"
    assert http.get("/v1/jobs").json()["data"] == []


def test_two_names_are_refused(http: httpx.Client) -> None:
    headers = [("X-Latentfarm-Tenant", "a"), ("X-Latentfarm-Tenant", "b")]
    assert http.get("/v1/jobs", headers=headers).status_code == 422


def test_a_name_is_not_believed_where_others_reach_the_api(settings: Settings) -> None:
    open_to_all = settings.model_copy(update={"api_host": "0.0.0.0"})
    with serve(open_to_all) as url:
        assert httpx.get(f"{url}/v1/jobs", headers=A, timeout=60).status_code == 401
        assert httpx.get(f"{url}/v1/jobs", timeout=60).status_code == 401


def test_more_than_may_wait_is_refused_with_the_time_to_come_again(
    http: httpx.Client, repository: Repository
) -> None:
    repository.transact(lambda c: tenants.change(c, "a", {"max_queued": 10}))
    assert submit(http, A, 8).status_code == 202
    refused = submit(http, A, 3)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(tenancy.LATEST_S))
    error = error_of(refused)
    assert isinstance(error, TooMuchQueued)
    assert error.wait_s == tenancy.LATEST_S
    assert "8 renders wait" in str(error)
    assert len(http.get("/v1/jobs", headers=A).json()["data"]) == 1
    assert submit(http, A, 2).status_code == 202
    assert submit(http, B, 100).status_code == 202
    # Of the last minute's starts ln 2 are left per second and minute: 8.66 is one every 10 s.
    do(repository, "UPDATE tenants SET recent_starts = 8.656 WHERE name = 'a'")
    assert submit(http, A, 3).headers["Retry-After"] == "30"


def test_jobs_of_several_models_count_too(http: httpx.Client, repository: Repository) -> None:
    submit(http, A, 8)
    repository.transact(lambda c: tenants.change(c, "a", {"max_queued": 10}))
    do(repository, "UPDATE jobs SET model = '*'")
    assert submit(http, A, 3).status_code == 429


def test_what_could_start_at_once_counts_before_it_has(http: httpx.Client, repository: Repository) -> None:
    repository.transact(lambda c: tenants.change(c, "a", {"max_queued": 2}))
    assert submit(http, A, 3, lane="interactive").status_code == 429
    assert submit(http, A, 2, lane="interactive").status_code == 202
    # Those wait no more: their queue has room.
    assert submit(http, A, 2, lane="interactive").status_code == 202


def test_a_paused_job_waits_until_it_is_resumed(http: httpx.Client, repository: Repository) -> None:
    job = submit(http, A, 4).json()["id"]
    (queue,) = repository.queues()
    assert http.post(f"/v1/jobs/{job}/pause", headers=A).json()["paused_at"] is not None
    assert repository.pick(queue, window_per_worker=10).picks == ()
    assert http.post(f"/v1/jobs/{job}/resume", headers=A).json()["paused_at"] is None
    assert len(repository.pick(queue, window_per_worker=10).picks) == 4


def test_a_paused_tenant_waits_and_can_still_cancel(http: httpx.Client, repository: Repository) -> None:
    job = submit(http, A, 4, lane="interactive").json()["id"]
    repository.transact(lambda c: tenants.change(c, "a", {"paused": True}))
    later = submit(http, A, 2, lane="interactive").json()["id"]
    (queue,) = repository.queues()
    assert repository.pick(queue, window_per_worker=10).picks == ()
    assert http.post(f"/v1/jobs/{job}/cancel", headers=A).json()["state"] == "cancelled"
    repository.transact(lambda c: tenants.change(c, "a", {"paused": False}))
    found = repository.pick(queue, window_per_worker=10).picks
    assert repository.transact(lambda c: of(c, [one.render_id for one in found])) == {later: 2}


def of(connection: Any, renders: list[int]) -> dict[str, int]:
    rows = connection.execute(
        text("SELECT job_id, count(*) AS n FROM renders WHERE id = ANY (:ids) GROUP BY job_id"),
        {"ids": renders},
    )
    return {str(row.job_id): row.n for row in rows}


def test_a_job_that_has_ended_cannot_be_paused(http: httpx.Client, repository: Repository) -> None:
    job: UUID | str = submit(http, A).json()["id"]
    http.post(f"/v1/jobs/{job}/cancel", headers=A)
    assert http.post(f"/v1/jobs/{job}/pause", headers=A).json()["paused_at"] is None
