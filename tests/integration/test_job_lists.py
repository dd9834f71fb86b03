"""`GET /v1/jobs` with filters: the right jobs, page by page, at a bounded cost."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client import Client
from latentfarm.repository import listing
from tests.integration.serving import serve
from tests.integration.test_dispatch_plans import touched
from tests.integration.test_fair_dispatch import add, do

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def ids(http: httpx.Client, **parameters: Any) -> list[str]:
    """All pages, two jobs at a time."""
    found: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = http.get("/v1/jobs", params={"limit": 2, **parameters, **after}).json()
        assert len(page["data"]) <= 2
        found += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return found
        after = {"after": page["next_cursor"]}


@pytest.fixture
def farm(repository: Repository) -> dict[str, UUID]:
    """Jobs of every kind, oldest first."""
    made = {
        "done": add(repository, 1),
        "failed": add(repository, 1, lane="interactive"),
        "running": add(repository, 1),
        "several": add(repository, 1),
        "other": add(repository, 1, model="other"),
        "refined": add(repository, 1),
    }
    add(repository, 1, "somebody")
    changes = {
        "done": "state = 'succeeded', finished_at = now()",
        "failed": "state = 'failed', finished_at = now()",
        "running": "state = 'running'",
        "several": "kind = 'dataset', model = '*'",
        "refined": "kind = 'refine'",
    }
    for name, change in changes.items():
        do(repository, f"UPDATE jobs SET {change} WHERE id = :id", id=made[name])
    return made


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["refined", "other", "several", "running", "failed", "done"]),
    ({"state": "queued"}, ["refined", "other", "several"]),
    ({"state": ["running", "failed"]}, ["running", "failed"]),
    ({"state": ["failed", "cancelled"]}, ["failed"]),
    ({"state": "cancelled"}, []),
    ({"lane": "interactive"}, ["failed"]),
    ({"model": "other"}, ["other"]),
    ({"model": "*"}, ["several"]),
    ({"kind": "dataset"}, ["several"]),
    ({"kind": "single", "state": "queued"}, ["other"]),
    ({"model": "none"}, []),
]


@pytest.mark.parametrize("scan", [listing.SCAN, 2, 1])
def test_only_jobs_that_all_parameters_fit_are_listed(
    http: httpx.Client, farm: dict[str, UUID], monkeypatch: pytest.MonkeyPatch, scan: int
) -> None:
    monkeypatch.setattr(listing, "SCAN", scan)
    for parameters, expected in FILTERS:
        assert ids(http, **parameters) == [str(farm[name]) for name in expected], parameters


def test_times_are_those_of_the_records(http: httpx.Client, farm: dict[str, UUID]) -> None:
    times = {one: http.get(f"/v1/jobs/{one}").json()["created_at"] for one in farm.values()}
    failed, other = times[farm["failed"]], times[farm["other"]]
    assert ids(http, created_after=failed, created_before=other) == [
        str(farm[name]) for name in ("several", "running", "failed")
    ]
    last = datetime.fromisoformat(times[farm["refined"]]) + timedelta(hours=1)
    assert ids(http, created_after=last.isoformat()) == []
    assert ids(http, created_before="1970-01-02T00:00:00+01:00") == []
    assert ids(http, created_after="0001-01-01T00:00:00Z", created_before="9999-12-31T00:00:00Z") == ids(http)


def test_what_no_job_can_have_is_refused(http: httpx.Client) -> None:
    for wrong in (
        {"state": "gone"},
        {"lane": "slow"},
        {"kind": "x"},
        {"created_after": "yesterday"},
        {"created_after": "2026-01-01T00:00:00"},
        {"model": "a\0"},
        {"model": "m" * 65},
    ):
        refused = http.get("/v1/jobs", params=wrong)
        assert refused.status_code == 422, wrong
        assert next(iter(wrong)) in refused.json()["errors"][0]["field"]


MANY = text("""
    INSERT INTO jobs (id, tenant, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued,
                      keep_latents, model, finished_at)
    SELECT gen_random_uuid(), '', 'single', (SELECT min(id) FROM specs), 'bulk', 0,
           CASE WHEN i % 10000 = 1 THEN 'failed' ELSE 'succeeded' END, 1, 1, 0, 0, 0, 'tiny', now()
    FROM generate_series(1, 40000) AS i
""")


def test_a_page_looks_at_a_bounded_number_of_jobs(repository: Repository) -> None:
    add(repository, 1)
    do(repository, MANY.text)
    do(repository, "ANALYZE")
    values: dict[str, Any] = dict.fromkeys(
        ("states", "lane", "model", "kind", "created_after", "created_before")
    )
    values |= {"tenant": "", "before": "f" * 32, "since": "0" * 32, "scan": listing.SCAN, "limit": 21}

    def cost(known: str, **wanted: Any) -> tuple[float, str]:
        asked = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {listing.PAGES[known].text}")
        found = repository.transact(lambda c: c.execute(asked, values | wanted).scalar_one())
        plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
        return touched(plan), json.dumps(plan)

    assert cost("")[0] < 400
    assert cost("", lane="interactive")[0] < 4 * listing.SCAN
    seen, told = cost("unwell", states=["failed"])
    assert seen < 100
    assert "ix_jobs_unwell" in told
    assert cost("open", states=["queued"])[0] < 100


def test_the_client_and_the_command_filter_too(
    http: httpx.Client, farm: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCAN", 1)
    with Client(str(http.base_url)) as client:
        page = client.list(state=["failed", "running"])
        assert (page.data, page.has_more) == ([], True)
    told = CliRunner().invoke(
        app,
        [
            "jobs",
            "list",
            "--state",
            "failed",
            "--state",
            "running",
            "--limit",
            "1",
            "--api",
            str(http.base_url),
        ],
        catch_exceptions=False,
    )
    assert str(farm["running"]) in told.output
    assert str(farm["failed"]) not in told.output
    assert "more: latentfarm jobs list --after" in told.output
