"""Links to images, against the real object store: for reading, for a while, and for whoever asked with a key."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import text

from latentfarm.api_keys import Scope
from latentfarm.key_ring import KeyRing
from latentfarm.settings import Settings
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

SHORT_S = 2
SIGNED = ("X-Amz-Signature", "/outputs/")
"""What every link has in it, of either kind."""
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"


@pytest.fixture(params=[900])
def http(
    settings: Settings, repository: Repository, store: S3Store, request: pytest.FixtureRequest
) -> Iterator[httpx.Client]:
    """An API whose links are good for so many seconds, with one finished prediction in it."""
    ring = KeyRing(repository)
    key = ring.create(tenant="acme", name="all", scopes=[Scope.SUBMIT, Scope.READ])[1]
    own = settings.model_copy(update={"link_s": request.param, "require_keys": True})
    with serve(own) as url, httpx.Client(base_url=url, timeout=60) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        client.post("/v1/jobs", json={"prompt": "a", "width": 64, "height": 64})
        puppet = Puppet(repository, store)
        puppet.finish(puppet.claim(), {0: b"the image"})
        yield client


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def links(http: httpx.Client) -> list[str]:
    """One of each kind, fresh."""
    (job,) = http.get("/v1/jobs").json()["data"]
    redirect = http.get(f"/v1/jobs/{job['id']}/images/0")
    assert (redirect.status_code, redirect.headers["cache-control"]) == (307, "no-store")
    (output,) = http.get(f"/replicate/v1/predictions/{job['id']}").json()["output"]
    return [redirect.headers["location"], output]


def test_by_default_they_are_good_for_a_quarter_of_an_hour_and_never_for_more_than_a_day() -> None:
    assert Settings.model_fields["link_s"].default <= 900
    with pytest.raises(ValidationError):
        Settings(link_s=86_401)


def is_over(link: str) -> bool:
    return httpx.get(link).status_code != 200


def rows_with(repository: Repository, table: str, mark: str) -> int:
    statement = text(f'SELECT count(*) FROM "{table}" t WHERE CAST(t AS text) LIKE :mark')
    return int(repository.transact(lambda c: c.execute(statement, {"mark": f"%{mark}%"}).scalar_one()))


def opened(http: httpx.Client) -> list[str]:
    """Links that have led to the image. On a slow machine the first ones may be over before they are used."""
    made: list[str] = []

    def read() -> bool:
        made[:] = links(http)
        return [httpx.get(link).content for link in made] == [b"the image"] * 2

    until(read)
    return made


@pytest.mark.parametrize("http", [SHORT_S], indirect=True)
def test_they_lead_to_the_image_until_their_time_is_over(http: httpx.Client) -> None:
    made = opened(http)
    assert parse_qs(urlsplit(made[0]).query)["X-Amz-Expires"] == [str(SHORT_S)]
    for link in made:
        until(partial(is_over, link))
        assert httpx.get(link).status_code == 403, link
    # They are made anew for whoever asks.
    assert opened(http) != made


def test_they_are_for_reading_only(http: httpx.Client) -> None:
    for link in links(http):
        refused = {
            method: httpx.request(method, link, content=b"x").status_code
            for method in ("PUT", "DELETE", "POST")
        }
        assert set(refused.values()) <= {403, 405}, refused
    assert [httpx.get(link).content for link in links(http)] == [b"the image"] * 2


def test_none_is_made_without_a_key_and_none_is_kept_or_logged(
    http: httpx.Client, repository: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    (job,) = http.get("/v1/jobs").json()["data"]
    made = links(http)
    for path in (f"/v1/jobs/{job['id']}/images/0", f"/replicate/v1/predictions/{job['id']}"):
        answer = httpx.get(f"{http.base_url}{path}")
        assert (answer.status_code, "location" in answer.headers) == (401, False)
        assert not any(mark in answer.text for mark in SIGNED)
    [httpx.get(link) for link in made]
    tables = repository.transact(lambda c: list(c.execute(text(TABLES)).scalars()))
    assert [name for name in tables for mark in SIGNED if rows_with(repository, name, mark)] == []
    told = capfd.readouterr()
    assert not any(mark in told.out + told.err for mark in SIGNED)
