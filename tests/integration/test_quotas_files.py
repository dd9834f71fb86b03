"""How many files a tenant keeps, and their bytes: by whichever door they came, and however many come at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client_http import error_of
from latentfarm.errors import OverQuota
from tests.integration.batching import URL, jsonl, line
from tests.integration.pictures import RED
from tests.integration.serving import serve
from tests.integration.test_quotas import BYTES, SPEC, A, limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

LINES = jsonl(line("a"))
DOORS = ("native", "openai", "replicate")


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def send(http: httpx.Client, door: str, headers: dict[str, str] = A) -> httpx.Response:
    if door == "native":
        return http.post("/v1/uploads", json={"size": 100}, headers=headers)
    if door == "openai":
        files: dict[str, Any] = {"file": ("a.jsonl", LINES)}
        return http.post("/v1/files", data={"purpose": "batch"}, files=files, headers=headers)
    return http.post("/replicate/v1/files", files={"content": ("a.png", RED)}, headers=headers)


def kept(repository: Repository) -> list[int]:
    tables = ("files", "uploads", "inputs")
    ask = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    return list(repository.transact(lambda c: c.execute(text(ask)).one()))


def test_all_doors_count_together_and_what_is_refused_leaves_nothing(
    http: httpx.Client, repository: Repository
) -> None:
    limit(http, max_files=3)
    sent = {door: send(http, door).json() for door in DOORS}
    assert http.get("/v1/tenants/a").json()["files"] == 3
    before = kept(repository)
    for door in DOORS:
        refused = send(http, door)
        assert (refused.status_code, "Retry-After" in refused.headers) == (403, False)
        assert "3 of 3 files are kept: one must be deleted first" in refused.text
    told = send(http, "native")
    assert told.json()["quota"] | {"resets_at": ""} == {
        "name": "max_files",
        "unit": "files",
        "limit": 3,
        "used": 3,
        "asked": 1,
        "resets_at": "",
    }
    assert isinstance(error_of(told), OverQuota)
    assert send(http, "openai").json()["error"]["code"] == "quota_exceeded"
    assert kept(repository) == before
    assert send(http, "native", {}).status_code == 201
    # What is deleted, or has come to its end, makes room at once.
    assert http.delete(f"/v1/files/{sent['openai']['id']}", headers=A).status_code == 200
    assert http.delete(f"/replicate/v1/files/{sent['replicate']['id']}", headers=A).status_code == 204
    over = "UPDATE uploads SET expires_at = now() WHERE tenant = 'a'"
    repository.transact(lambda c: c.execute(text(over)))
    assert [send(http, door).status_code for door in DOORS] == [201, 200, 201]
    assert send(http, "native").status_code == 403
    limit(http, max_files=None)
    assert send(http, "native").status_code == 201


@pytest.mark.parametrize("door", DOORS)
def test_however_many_come_at_once_none_passes_it(http: httpx.Client, door: str) -> None:
    limit(http, max_files=5)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: send(http, door).status_code, range(24)))
    # Pictures are looked at by four at a time; who waits for too long is told to come again.
    assert sum(status < 300 for status in answers) == 5
    assert {status for status in answers if status >= 300} <= {403, 503}


def test_their_bytes_are_storage(http: httpx.Client) -> None:
    """Of a job the most that it may take is reserved, of a file what it has, or may have."""
    limit(http, max_storage_bytes=BYTES + len(LINES) + 150)
    assert [send(http, door).status_code for door in ("native", "openai")] == [201, 200]
    assert http.get("/v1/tenants/a").json()["storage_bytes"] == 100 + len(LINES)
    picture = send(http, "replicate").json()["id"]
    assert http.get("/v1/tenants/a").json()["files"] is None
    job = http.post("/v1/jobs", json=SPEC, headers=A)
    assert (job.status_code, job.json()["quota"]["name"]) == (403, "max_storage_bytes")
    assert http.delete(f"/replicate/v1/files/{picture}", headers=A).status_code == 204
    assert http.post("/v1/jobs", json=SPEC, headers=A).status_code == 202
    over = send(http, "native")
    assert (over.status_code, over.json()["quota"]["name"]) == (403, "max_storage_bytes")


def test_a_batch_is_made_by_who_may_send_no_further_file(http: httpx.Client) -> None:
    limit(http, max_files=1, max_cost_per_day=0)
    sent = send(http, "openai").json()["id"]
    assert send(http, "openai").status_code == 403
    limit(http, max_cost_per_day=None)
    asked = {"input_file_id": sent, "endpoint": URL, "completion_window": "24h"}
    assert http.post("/v1/batches", json=asked, headers=A).status_code == 200


def test_the_command_sets_and_shows_it(http: httpx.Client) -> None:
    def ran(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["tenants", *arguments, "--api", str(http.base_url)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "0 of 20 kept" in ran("set", "a", "--max-files", "20")
    send(http, "native")
    assert "1 of 20 kept" in ran("show", "a")
    assert "kept" not in ran("set", "a", "--max-files", "none")
