"""`/v1/tenants` of a real API, and the commands: what each tenant may have, on loopback only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client import Client
from latentfarm.errors import InvalidInput, NotFound
from latentfarm.repository import tenants
from tests.integration.serving import serve
from tests.integration.test_fair_dispatch import add, bulk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_what_is_named_changes_and_the_rest_stays(http: httpx.Client, repository: Repository) -> None:
    made = http.patch("/v1/tenants/a", json={"weight": 2, "max_queued": 10})
    assert made.status_code == 200
    assert {
        "weight": 2.0,
        "max_queued": 10,
        "max_in_flight": None,
        "paused_at": None,
    }.items() <= made.json().items()
    http.patch("/v1/tenants/a", json={"max_in_flight": 3, "paused": True})
    paused = http.patch("/v1/tenants/a", json={"paused": True, "max_queued": None}).json()
    assert (paused["weight"], paused["max_in_flight"], paused["max_queued"]) == (2.0, 3, None)
    assert paused["paused_at"] == http.get("/v1/tenants/a").json()["paused_at"] is not None
    assert http.patch("/v1/tenants/a", json={}).json() == paused
    assert http.patch("/v1/tenants/a", json={"paused": False}).json()["paused_at"] is None


def test_settings_count_from_the_next_pick_on(http: httpx.Client, repository: Repository) -> None:
    add(repository, 20, "a")
    http.patch("/v1/tenants/a", json={"max_in_flight": 3})
    assert len(repository.pick(bulk(repository), window_per_worker=10).picks) == 3
    http.patch("/v1/tenants/a", json={"max_in_flight": 5})
    assert len(repository.pick(bulk(repository), window_per_worker=10).picks) == 2
    shown = http.get("/v1/tenants/a").json()
    assert (shown["in_flight"], shown["queued"]) == (5, 15)
    http.patch("/v1/tenants/a", json={"max_in_flight": None, "paused": True})
    assert repository.pick(bulk(repository), window_per_worker=10).picks == ()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"weight": 0}, "weight"),
    ({"weight": -1}, "weight"),
    ({"weight": 101}, "weight"),
    ({"weight": None}, "weight"),
    ({"weight": "2"}, "weight"),
    ({"max_in_flight": -1}, "max_in_flight"),
    ({"max_queued": 2**31}, "max_queued"),
    ({"max_queued": 1.5}, "max_queued"),
    ({"paused": 1}, "paused"),
    ({"deficit_s": 5}, "deficit_s"),
]


def test_what_is_out_of_bounds_is_refused_and_changes_nothing(
    http: httpx.Client, repository: Repository
) -> None:
    for body, field in REFUSED:
        refused = http.patch("/v1/tenants/a", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field), body
    assert repository.transact(lambda c: tenants.get(c, "a")) is None


def test_what_is_no_name_is_refused(http: httpx.Client) -> None:
    for name in ("-a", "a%20b", "%C3%A9", "a" * 65, "--"):
        assert http.get(f"/v1/tenants/{name}").status_code == 422, name
        assert http.patch(f"/v1/tenants/{name}", json={"weight": 2}).status_code == 422, name
    assert http.get("/v1/tenants").json()["data"] == []


def test_tenants_are_listed_by_name_page_by_page(http: httpx.Client) -> None:
    for name in ("b", "-", "a", "c"):
        http.patch(f"/v1/tenants/{name}", json={"weight": 2})
    page = http.get("/v1/tenants", params={"limit": 3}).json()
    assert [one["name"] for one in page["data"]] == ["", "a", "b"]
    assert page["data"][0]["url"].endswith("/v1/tenants/-")
    page = http.get("/v1/tenants", params={"limit": 3, "after": page["next_cursor"]}).json()
    assert ([one["name"] for one in page["data"]], page["has_more"]) == (["c"], False)
    first = http.get("/v1/tenants", params={"limit": 1}).json()
    after = http.get("/v1/tenants", params={"limit": 1, "after": first["next_cursor"]}).json()
    assert [one["name"] for one in after["data"]] == ["a"]


def test_nobody_looks_after_tenants_where_others_reach_the_api(settings: Settings) -> None:
    with serve(settings.model_copy(update={"api_host": "0.0.0.0"})) as url:
        for method, path in (("GET", ""), ("GET", "/a"), ("PATCH", "/a")):
            refused = httpx.request(method, f"{url}/v1/tenants{path}", json={"weight": 2}, timeout=60)
            assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")


def test_the_client_and_the_commands_do_the_same(http: httpx.Client) -> None:
    def ran(*arguments: str) -> str:
        done = CliRunner().invoke(
            app, ["tenants", *arguments, "--api", str(http.base_url)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.output

    with Client(str(http.base_url)) as client:
        with pytest.raises(NotFound, match="no tenant 'a'"):
            client.tenants.get("a")
        with pytest.raises(InvalidInput, match="weight"):
            client.tenants.set("a", weight=0)
        assert client.tenants.set("a", weight=2, max_in_flight=7).weight == 2.0
        assert client.tenants.set("", paused=True).name == ""
        assert [one.name for one in client.tenants.all()] == ["", "a"]
        assert "0 of 7" in ran("show", "a")
        ran("set", "a", "--max-in-flight", "none", "--max-queued", "9", "--weight", "0.5")
        found = client.tenants.get("a")
        assert (found.max_in_flight, found.max_queued, found.weight) == (None, 9, 0.5)
        assert "paused" in ran("pause", "a")
        assert "paused" not in ran("resume", "a")
        assert "since" not in ran("resume", "-")
        assert "a  " in ran("list")
    for bad in (["set", "a"], ["set", "a", "--max-queued", "many"], ["set", "a", "--weight", "0"]):
        with pytest.raises(InvalidInput):
            CliRunner().invoke(app, ["tenants", *bad, "--api", str(http.base_url)], catch_exceptions=False)
