"""Quotas over HTTP: what is in flight, what a day takes, what is kept; nobody passes one, however many come at once."""

from __future__ import annotations

import datetime as dt
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client_http import error_of
from latentfarm.errors import ErrorClass, InvalidInput, OverQuota
from latentfarm.quotas import PIXEL_BYTES, TEXT_BYTES
from latentfarm.repository import keeping, quota_rows
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

A = {"X-Latentfarm-Tenant": "a"}
SPEC = {
    "prompt": "x",
    "width": 64,
    "height": 64,
    "num_inference_steps": 5,
    "sampler": "euler",
    "lane": "bulk",
}
UNITS = 64 * 64 / 1e6 * 5
"""Of one image of these."""
BYTES = 64 * 64 * PIXEL_BYTES + TEXT_BYTES
PARALLEL = 64


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def submit(http: httpx.Client, n: int = 1, **fields: Any) -> httpx.Response:
    return http.post("/v1/jobs", json={**SPEC, "num_images": n, **fields}, headers=A)


def limit(http: httpx.Client, **quotas: float | None) -> dict[str, Any]:
    answer = http.patch("/v1/tenants/a", json=quotas)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def do(repository: Repository, sql: str) -> None:
    repository.transact(lambda c: c.execute(text(sql)))


EDGES = {
    "max_cost_in_flight": (10.5 * UNITS, 429),
    "max_cost_per_day": (10.5 * UNITS, 429),
    "max_storage_bytes": (10 * BYTES + 1, 403),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("lane", ["bulk", "interactive"])
def test_64_at_the_edge_of_a_quota_pass_it_by_nothing(http: httpx.Client, name: str, lane: str) -> None:
    most, refusal = EDGES[name]
    limit(http, **{name: most})
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(lambda _: submit(http, lane=lane).status_code, range(PARALLEL)))
    assert (answers.count(202), answers.count(refusal)) == (10, PARALLEL - 10)
    shown = http.get("/v1/tenants/a").json()
    assert shown["cost_in_flight"] == shown["cost_today"] == pytest.approx(10 * UNITS, abs=1e-3)
    assert len(http.get("/v1/jobs", headers=A, params={"limit": 100}).json()["data"]) == 10


def test_a_refusal_names_the_quota_and_stores_nothing(http: httpx.Client, repository: Repository) -> None:
    limit(http, max_cost_in_flight=4 * UNITS)
    assert submit(http, 3).status_code == 202
    refused = submit(http, 2)
    assert (refused.status_code, refused.headers["Content-Type"]) == (429, "application/problem+json")
    assert int(refused.headers["Retry-After"]) >= 1
    body = refused.json()
    assert body["type"] == "urn:latentfarm:problem:quota_exceeded"
    assert body["quota"] == {
        "name": "max_cost_in_flight",
        "unit": "units",
        "limit": 4 * UNITS,
        "used": pytest.approx(3 * UNITS, abs=1e-3),
        "asked": pytest.approx(2 * UNITS, abs=1e-3),
    }
    error = error_of(refused)
    assert isinstance(error, OverQuota)
    assert error.quota["name"] == "max_cost_in_flight"
    assert len(http.get("/v1/jobs", headers=A).json()["data"]) == 1
    assert "quota" not in http.get("/v1/jobs/none").json()


def test_what_waiting_cannot_mend_is_no_429(http: httpx.Client) -> None:
    limit(http, max_cost_in_flight=4 * UNITS, max_cost_per_day=None)
    for headers, path in ((A, "/v1/jobs"), (A, "/v1/jobs?dry_run=true")):
        refused = http.post(path, json={**SPEC, "num_images": 5}, headers=headers)
        assert (refused.status_code, "Retry-After" in refused.headers) == (403, False)
        assert "this alone is" in refused.json()["detail"]


def test_in_flight_frees_itself_image_by_image_and_by_cancelling(http: httpx.Client, puppet: Puppet) -> None:
    limit(http, max_cost_in_flight=4 * UNITS)
    job = submit(http, 4).json()["id"]
    assert submit(http).status_code == 429
    claimed = puppet.claim(most=1)
    puppet.finish(claimed)
    assert submit(http).status_code == 202
    assert submit(http).status_code == 429
    puppet.fail(puppet.claim(most=1), ErrorClass.USER, "it asks for too much")
    assert submit(http).status_code == 202
    http.post(f"/v1/jobs/{job}/cancel", headers=A)
    assert http.get("/v1/tenants/a").json()["cost_in_flight"] == pytest.approx(2 * UNITS, abs=1e-3)


def test_a_day_gives_nothing_back_and_ends_at_midnight_utc(
    http: httpx.Client, repository: Repository
) -> None:
    limit(http, max_cost_per_day=4 * UNITS)
    job = submit(http, 4).json()["id"]
    http.post(f"/v1/jobs/{job}/cancel", headers=A)
    refused = submit(http)
    assert refused.status_code == 429
    resets = dt.datetime.fromisoformat(refused.json()["quota"]["resets_at"])
    assert (resets.hour, resets.minute, resets.utcoffset()) == (0, 0, dt.timedelta(0))
    left = (resets - dt.datetime.now(dt.UTC)).total_seconds()
    assert int(refused.headers["Retry-After"]) == pytest.approx(left, abs=5)
    do(repository, "UPDATE quotas SET day = day - 1")
    assert http.get("/v1/tenants/a").json()["cost_today"] == 0
    assert submit(http, 4).status_code == 202
    assert submit(http).status_code == 429


def test_storage_counts_what_is_kept_and_what_may_come(
    http: httpx.Client, repository: Repository, puppet: Puppet
) -> None:
    submit(http, 2)
    files = puppet.finish(puppet.claim())
    kept = sum(map(len, files.values()))
    shown = limit(http, max_storage_bytes=kept + 2 * BYTES)
    assert shown["storage_bytes"] == kept
    assert submit(http, 2).status_code == 202
    refused = submit(http)
    assert (refused.status_code, refused.json()["quota"]["unit"]) == (403, "bytes")
    assert "Retry-After" not in refused.headers
    more = puppet.finish(puppet.claim())
    # Ended, and not counted yet: it may be as large as was said.
    assert submit(http).status_code == 403
    do(
        repository,
        "UPDATE jobs SET finished_at = finished_at - interval '1 hour' WHERE finished_at IS NOT NULL",
    )
    do(repository, "UPDATE quotas SET count_due = now()")
    assert repository.transact(quota_rows.count_due) == ["a"]
    assert repository.transact(quota_rows.count_due) == []
    kept += sum(map(len, more.values()))
    assert http.get("/v1/tenants/a").json()["storage_bytes"] == kept
    assert submit(http).status_code == 202


def test_all_whose_turn_it_is_are_counted_in_pieces_of_any_size(
    http: httpx.Client, repository: Repository, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"a": 0, "b": 0, "c": 0}
    for tenant, images in (("a", (3, 1, 2)), ("b", (1,)), ("c", ())):
        for n in images:
            http.post("/v1/jobs", json={**SPEC, "num_images": n}, headers={"X-Latentfarm-Tenant": tenant})
            kept[tenant] += sum(map(len, puppet.finish(puppet.claim()).values()))
        http.patch(f"/v1/tenants/{tenant}", json={"max_storage_bytes": 2**40})
    monkeypatch.setattr(keeping, "WINDOW", 2)
    monkeypatch.setattr(keeping, "JOBS", 2)
    do(repository, "UPDATE quotas SET storage_bytes = 0, count_due = now()")
    assert sorted(repository.transact(quota_rows.count_due)) == ["a", "b", "c"]
    rows = "SELECT tenant, storage_bytes FROM quotas"
    found = repository.transact(lambda c: c.execute(text(rows)).all())
    assert {row.tenant: row.storage_bytes for row in found} == kept
    assert kept["a"] > kept["b"] > kept["c"] == 0
    # One that takes all the time there is leaves the others to the next sweep.
    do(repository, "UPDATE quotas SET count_due = now()")
    one_by_one = functools.partial(quota_rows.count_due, within_s=0)
    assert sorted(repository.transact(one_by_one)[0] for _ in kept) == ["a", "b", "c"]


def test_jobs_do_not_wait_while_what_is_kept_is_counted(
    http: httpx.Client, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(http, max_storage_bytes=2**40)

    def slow(_: object, tenant: str) -> int:
        free = "SELECT tenant FROM quotas WHERE tenant = :tenant FOR UPDATE NOWAIT"
        found.append(repository.transact(lambda c: c.execute(text(free), {"tenant": tenant}).scalar()))
        return 0

    found: list[str | None] = []
    monkeypatch.setattr(quota_rows, "kept_bytes", slow)
    limit(http, max_storage_bytes=2**39)
    do(repository, "UPDATE quotas SET count_due = now()")
    repository.transact(quota_rows.count_due)
    assert found == ["a", "a"]


def test_a_refused_job_leaves_its_idempotency_key_free(http: httpx.Client) -> None:
    limit(http, max_cost_per_day=UNITS)
    headers = {**A, "Idempotency-Key": "k"}
    assert (
        http.post("/v1/jobs", json={**SPEC, "num_images": 2, "seed": 1}, headers=headers).status_code == 403
    )
    made = http.post("/v1/jobs", json={**SPEC, "seed": 1}, headers=headers)
    assert made.status_code == 202
    again = http.post("/v1/jobs", json={**SPEC, "seed": 1}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, made.json()["id"])


def test_refining_counts_the_refiner_alone(http: httpx.Client, puppet: Puppet) -> None:
    limit(http, max_cost_per_day=100)
    body = {**SPEC, "num_inference_steps": 10, "refiner": {"high_noise_frac": 0.8}, "keep_latents": 3600}
    quoted = http.post("/v1/jobs?dry_run=true", json=body, headers=A).json()["megapixel_steps"]
    job = http.post("/v1/jobs", json=body, headers=A).json()["id"]
    spent = http.get("/v1/tenants/a").json()["cost_today"]
    assert spent == pytest.approx(quoted, abs=1e-3)
    puppet.hand_over(puppet.claim())
    puppet.finish(puppet.claim())
    assert http.post(f"/v1/jobs/{job}/refine", json={"source": "latents"}, headers=A).status_code == 202
    again = http.get("/v1/tenants/a").json()["cost_today"] - spent
    assert again == pytest.approx(0.2 * quoted, abs=2e-3)
    limit(http, max_cost_per_day=spent)
    refused = http.post(f"/v1/jobs/{job}/refine", json={"source": "latents"}, headers=A)
    assert (refused.status_code, refused.json()["quota"]["name"]) == (429, "max_cost_per_day")


def test_who_has_no_quotas_is_not_counted(http: httpx.Client, repository: Repository) -> None:
    limit(http, max_queued=1000)
    submit(http, 3)
    shown = http.get("/v1/tenants/a").json()
    assert (shown["cost_today"], shown["cost_in_flight"], shown["storage_bytes"]) == (None, None, None)
    counted = repository.transact(lambda c: c.execute(text("SELECT cost FROM jobs")).scalars().all())
    assert counted == [None]


def test_commands_set_and_show_them(http: httpx.Client) -> None:
    def ran(*arguments: str) -> str:
        done = CliRunner().invoke(
            app, ["tenants", *arguments, "--api", str(http.base_url)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.output

    given = (
        "--max-cost-in-flight",
        "2.5",
        "--max-cost-per-day",
        "1000",
        "--max-storage-bytes",
        "500000000000",
    )
    shown = ran("set", "a", *given)
    assert "0 of 2.5 megapixel-steps" in shown
    assert "0 of 500000000000 bytes" in ran("show", "a")
    assert "storage" not in ran("set", "a", "--max-storage-bytes", "none")
    for bad in (["--max-cost-per-day", "much"], ["--max-cost-per-day", "-1"], ["--max-storage-bytes", "1.5"]):
        with pytest.raises(InvalidInput):
            ran("set", "a", *bad)


def test_openai_clients_are_told_in_their_words(http: httpx.Client) -> None:
    limit(http, max_cost_per_day=UNITS)
    assert submit(http).status_code == 202
    refused = http.post("/v1/images/generations", json={"prompt": "x", "size": "128x128"}, headers=A)
    assert refused.status_code in (403, 429)
    assert refused.json()["error"]["code"] == "quota_exceeded"
