"""Files and batches of another tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from latentfarm.api_keys import Scope
from latentfarm.key_ring import KeyRing
from tests.integration.batching import URL, canary_batch
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

NOBODYS = {"file_id": f"file-{UUID(int=9)}", "batch_id": f"batch_{UUID(int=10)}"}


@pytest.fixture
def two(settings: Settings, repository: Repository) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """Another tenant's client, and the ids of what the first one has."""
    ring, scopes = KeyRing(repository), [Scope.SUBMIT, Scope.READ]
    keys = [ring.create(tenant=name, name=name, scopes=scopes)[1] for name in ("owner", "other")]
    mine, other = ({"Authorization": f"Bearer {key}"} for key in keys)
    with (
        serve(settings.model_copy(update={"require_keys": True})) as url,
        httpx.Client(base_url=url, timeout=60, headers=other) as http,
    ):
        yield http, canary_batch(http, mine, "a canary", n=0) | {"key": mine["Authorization"]}


def test_a_batch_of_another_tenants_file_is_a_batch_of_no_file(
    two: tuple[httpx.Client, dict[str, str]],
) -> None:
    http, ids = two
    asked = {"endpoint": URL, "completion_window": "24h"}
    answers = [
        http.post("/v1/batches", json={**asked, "input_file_id": file})
        for file in (ids["file_id"], NOBODYS["file_id"])
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].text == answers[1].text


def test_what_comes_of_another_tenants_batch_is_no_file(two: tuple[httpx.Client, dict[str, str]]) -> None:
    """The batch has ended: with nothing but an error file."""
    http, ids = two
    mine = {"Authorization": ids["key"]}
    for path in ("", "/content"):
        named = [f"/v1/files/file-{one['batch_id'][6:]}-errors{path}" for one in (ids, NOBODYS)]
        assert http.get(named[0], headers=mine).status_code == 200
        answers = [http.get(one) for one in named]
        assert [answer.status_code for answer in answers] == [404, 404]
        told = answers[0].text.replace(ids["batch_id"][6:], NOBODYS["batch_id"][6:])
        assert told == answers[1].text
        assert http.delete(named[0].removesuffix("/content")).status_code == 404
