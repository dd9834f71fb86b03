"""Keys over HTTP: whose rows a key reaches, what is refused and how, the admin's routes, and what logs tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from latentfarm import Client
from latentfarm.api_keys import Scope, written
from latentfarm.client_http import NotAllowed
from latentfarm.errors import InvalidInput
from latentfarm.key_ring import KeyRing
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

ALL_BUT_ADMIN = (Scope.SUBMIT, Scope.READ, Scope.CANCEL)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Of an API that others reach; which takes no requests without a key."""
    with serve(settings.model_copy(update={"api_host": "0.0.0.0"})) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def ring(repository: Repository) -> KeyRing:
    return KeyRing(repository)


def key(ring: KeyRing, tenant: str = "a", *scopes: Scope, **fields: Any) -> dict[str, str]:
    made = ring.create(tenant=tenant, name="one", scopes=scopes or ALL_BUT_ADMIN, **fields)
    return {"Authorization": f"Bearer {made[1]}"}


def submit(http: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    return http.post("/v1/jobs", json={"prompt": "x", "lane": "bulk"}, headers=headers)


def test_a_job_belongs_to_the_tenant_of_its_key(http: httpx.Client, ring: KeyRing) -> None:
    mine, of_mine, other = key(ring, "a"), key(ring, "a", Scope.READ), key(ring, "b")
    job = submit(http, mine).json()["id"]
    assert http.get(f"/v1/jobs/{job}", headers=of_mine).status_code == 200
    assert http.get(f"/v1/jobs/{job}", headers=other).status_code == 404
    assert [one["id"] for one in http.get("/v1/jobs", headers=of_mine).json()["data"]] == [job]
    assert http.get("/v1/jobs", headers=other).json()["data"] == []


def test_all_keys_that_cannot_be_used_are_refused_alike(
    http: httpx.Client, ring: KeyRing, repository: Repository
) -> None:
    revoked, expired, missing = (
        key(ring),
        key(ring),
        {"Authorization": f"Bearer {written('abcd1234', 's' * 43)}"},
    )
    assert http.get("/v1/jobs", headers=revoked).status_code == 200
    assert http.get("/v1/jobs", headers=expired).status_code == 200
    first, second = ring.listing()
    ring.revoke(first.prefix)
    repository.transact(
        lambda c: c.execute(
            text("UPDATE api_keys SET expires_at = now() WHERE prefix = :prefix"), {"prefix": second.prefix}
        )
    )
    altered = {"Authorization": key(ring)["Authorization"][:-2] + "__"}
    answers = [http.get("/v1/jobs", headers=headers) for headers in (revoked, expired, missing, altered)]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert len({answer.content for answer in answers}) == 1


def test_a_missing_scope_is_named(http: httpx.Client, ring: KeyRing) -> None:
    reader = key(ring, "a", Scope.READ)
    refused = submit(http, reader)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:latentfarm:problem:forbidden")
    assert "the scope submit" in refused.json()["detail"]
    assert "WWW-Authenticate" not in refused.headers
    assert http.get("/v1/jobs", headers=reader).json()["data"] == []


def test_only_an_admin_names_another_tenant(http: httpx.Client, ring: KeyRing) -> None:
    mine, admin = key(ring, "a"), key(ring, "boss", Scope.ADMIN)
    job = submit(http, mine | {"X-Latentfarm-Tenant": "a"}).json()["id"]
    refused = submit(http, mine | {"X-Latentfarm-Tenant": "b"})
    assert refused.status_code == 403
    assert "X-Latentfarm-Tenant" in refused.json()["detail"]
    assert http.get(f"/v1/jobs/{job}", headers=admin).status_code == 404
    assert http.get(f"/v1/jobs/{job}", headers=admin | {"X-Latentfarm-Tenant": "a"}).status_code == 200
    assert submit(http, admin | {"X-Latentfarm-Tenant": "a b"}).status_code == 422


def test_the_same_idempotency_key_of_two_tenants_makes_two_jobs(http: httpx.Client, ring: KeyRing) -> None:
    once, mine = {"Idempotency-Key": "order 7"}, key(ring, "a")
    first, again, other = (submit(http, headers | once) for headers in (mine, mine, key(ring, "b")))
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert "Idempotency-Replayed" not in other.headers


def test_a_manifest_in_the_bucket_is_a_tenants_own(http: httpx.Client, ring: KeyRing) -> None:
    body = {"name": "birds", "manifest": {"key": "b/birds.jsonl"}}
    for headers, named, status in (
        (key(ring, "a"), "b/birds.jsonl", 422),
        (key(ring, "a"), "a", 422),
        (key(ring, "a"), "ab/birds.jsonl", 422),
        (key(ring, ""), "birds.jsonl", 422),
        (key(ring, "a"), "a/birds.jsonl", 202),
        (key(ring, "boss", Scope.ADMIN), "b/birds.jsonl", 202),
    ):
        answer = http.post("/v1/datasets", json=body | {"manifest": {"key": named}}, headers=headers)
        assert answer.status_code == status, (named, answer.text)
        if status == 422:
            assert answer.json()["errors"][0]["field"] == "manifest.key"


def test_an_admin_makes_lists_rotates_and_revokes_keys(http: httpx.Client, ring: KeyRing) -> None:
    admin = key(ring, "boss", Scope.ADMIN)
    body = {"tenant": "a", "name": "shop", "scopes": ["read", "submit"], "expires_days": 90}
    made = http.post("/v1/keys", json=body, headers=admin)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    shown = made.json()
    assert (shown["scopes"], shown["replaced_by"]) == (["submit", "read"], None)
    theirs = {"Authorization": f"Bearer {shown['key']}"}
    assert submit(http, theirs).status_code == 202
    rotated = http.post(f"/v1/keys/{shown['prefix']}/rotate", json={"overlap_hours": 1}, headers=admin)
    assert rotated.status_code == 201
    newer = {"Authorization": f"Bearer {rotated.json()['key']}"}
    assert [submit(http, one).status_code for one in (theirs, newer)] == [202, 202]
    assert http.post(f"/v1/keys/{shown['prefix']}/rotate", json={}, headers=admin).status_code == 409
    revoked = http.delete(f"/v1/keys/{shown['prefix']}", headers=admin)
    assert (revoked.status_code, revoked.json()["replaced_by"]) == (200, rotated.json()["prefix"])
    assert [submit(http, one).status_code for one in (theirs, newer)] == [401, 202]
    listed = http.get("/v1/keys", params={"tenant": "a"}, headers=admin)
    assert [one["prefix"] for one in listed.json()["data"]] == [shown["prefix"], rotated.json()["prefix"]]
    assert all(secret not in listed.text for secret in (shown["key"][12:], rotated.json()["key"][12:]))
    page = http.get("/v1/keys", params={"limit": 1}, headers=admin).json()
    assert (
        http.get("/v1/keys", params={"after": page["next"]}, headers=admin).json()["data"][0]
        == listed.json()["data"][0]
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": "a"}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes.0"),
        ({"name": "a", "scopes": ["read"], "tenant": "a/b"}, "tenant"),
        ({"name": "a", "scopes": ["read"], "expires_days": "90"}, "expires_days"),
        ({"name": "a", "scopes": ["read"], "expires_days": 0}, "expires_days"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    http: httpx.Client, ring: KeyRing, body: dict[str, Any], field: str
) -> None:
    admin = key(ring, "boss", Scope.ADMIN)
    refused = http.post("/v1/keys", json=body, headers=admin)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert len(ring.listing()) == 1


def test_places_and_prefixes_that_cannot_be_are_refused(http: httpx.Client, ring: KeyRing) -> None:
    admin = key(ring, "boss", Scope.ADMIN)
    assert http.get("/v1/keys", params={"after": "x"}, headers=admin).status_code == 422
    assert http.get("/v1/keys", params={"tenant": "\x00"}, headers=admin).json()["data"] == []
    for prefix in ("abcd1234", "ABCD1234", "%00bcd1234"):
        assert http.delete(f"/v1/keys/{prefix}", headers=admin).status_code == 404
        assert http.post(f"/v1/keys/{prefix}/rotate", json={}, headers=admin).status_code == 404


def test_the_client_sends_its_key(url: str, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ring.create(tenant="a", name="r", scopes=[Scope.READ])[1]
    with Client(url, key=ring.create(tenant="a", name="s", scopes=ALL_BUT_ADMIN)[1]) as client:
        job = client.submit({"prompt": "x"})
        client.cancel(job)
        assert [event.type for event in client.events(job)] == ["job.cancelled"]
    monkeypatch.setenv("LATENTFARM_API_KEY", reader)
    with Client(url) as client:
        assert client.get(job).state == "cancelled"
        with pytest.raises(NotAllowed, match="the scope submit"):
            client.submit({"prompt": "x"})
    monkeypatch.delenv("LATENTFARM_API_KEY")
    with Client(url) as client, pytest.raises(NotAllowed, match="Authorization: Bearer"):
        client.get(job)


def test_the_client_refuses_what_cannot_be_a_key_and_does_not_repeat_it(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Client(url, key="lf_canary1 \n")
    assert "canary" not in str(refused.value)
