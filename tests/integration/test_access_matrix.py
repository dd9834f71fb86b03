"""Every route with every scope, as its own tenant, as another one, and as nobody: drawn from the OpenAPI document.

A route of the document without a row here fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from latentfarm.api_keys import Scope, written
from latentfarm.key_ring import KeyRing
from tests.integration.access_rows import HOST, ROWS
from tests.integration.asking import BIRDS
from tests.integration.batching import canary_batch
from tests.integration.hooking import spread
from tests.integration.pictures import RED
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

CANARY = "a canary in a coal mine"
NOBODYS = {
    "job_id": str(UUID(int=7)),
    "name": "unicorns",
    "plan_id": str(UUID(int=8)),
    "upload_id": str(UUID(int=9)),
    "file_id": f"file-{UUID(int=13)}",
    "batch_id": f"batch_{UUID(int=10)}",
    "webhook_id": str(UUID(int=11)),
    "delivery_id": str(UUID(int=12)),
}
"""Ids that no tenant has."""


KEPT = """
    SELECT (SELECT jsonb_agg(to_jsonb(j) ORDER BY j.id) FROM jobs j WHERE j.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.id) FROM datasets d WHERE d.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM renders r JOIN jobs j ON j.id = r.job_id WHERE j.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(u) ORDER BY u.id) FROM uploads u WHERE u.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(f) ORDER BY f.id) FROM files f WHERE f.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(b) ORDER BY b.id) FROM batches b WHERE b.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(w) ORDER BY w.id) FROM webhooks w WHERE w.tenant = 'owner'),
           (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.id) FROM deliveries d WHERE d.tenant = 'owner'),
           (SELECT jsonb_agg(k.prefix || coalesce(k.revoked_at::text, '') ORDER BY k.prefix) FROM api_keys k)
"""
"""All that the owner has."""


@dataclass
class World:
    """A farm with things of one tenant in it, and keys of that one and of another for each scope."""

    http: httpx.Client
    repository: Repository
    ids: dict[str, str]
    owner: dict[Scope, str]
    other: dict[Scope, str]

    def ask(
        self, name: str, key: str | None, ids: dict[str, str] | None = None, tenant: str | None = None
    ) -> httpx.Response:
        row, (method, path) = ROWS[name], name.split(" ")
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if tenant is not None:
            headers["X-Latentfarm-Tenant"] = tenant
        asked = path.format_map(self.ids | row.fill | (ids or {}))
        return self.http.request(method, asked, headers=headers, json=row.body)

    def kept(self) -> list[Any]:
        return list(self.repository.transact(lambda c: c.execute(text(KEPT)).one()))


@pytest.fixture
def world(settings: Settings, repository: Repository, store: S3Store) -> Iterator[World]:
    ring = KeyRing(repository)
    keys = {
        tenant: {scope: ring.create(tenant=tenant, name=scope, scopes=[scope])[1] for scope in Scope}
        for tenant in ("owner", "other")
    }
    victim = ring.create(tenant="owner", name="victim", scopes=[Scope.READ])[0].prefix
    with (
        serve(settings.model_copy(update={"require_keys": True, "openai_wait_s": 1.0})) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        made = World(http, repository, {"index": "0", "prefix": victim}, keys["owner"], keys["other"])
        _furnish(made, Puppet(repository, store))
        yield made


def _furnish(world: World, puppet: Puppet) -> None:
    """A job with a finished image that a webhook is told of, a dataset that waits for its images, and an upload."""
    mine = {"Authorization": f"Bearer {world.owner[Scope.SUBMIT]}"}
    reads = {"Authorization": f"Bearer {world.owner[Scope.READ]}"}
    hook = world.http.post("/v1/webhooks", json={"url": f"https://{HOST}/owners"}, headers=mine)
    job = world.http.post(
        "/v1/jobs", json={"prompt": CANARY, "lane": "bulk"}, headers=mine | {"Idempotency-Key": "1"}
    )
    puppet.finish(puppet.claim())
    birds = BIRDS | {"name": "canaries", "manifest": {"prompts": [CANARY]}}
    assert world.http.post("/v1/datasets", json=birds, headers=mine).status_code == 201
    spread(world.repository)
    told = world.http.get(f"/v1/webhooks/{hook.json()['id']}/deliveries", headers=reads)
    world.ids |= {"webhook_id": hook.json()["id"], "delivery_id": told.json()["data"][0]["id"]}
    upload = world.http.post("/v1/uploads", json={"size": 5}, headers=mine)
    plan = birds | {"manifest": {"key": "owner/birds.jsonl"}}
    planned = world.http.post("/v1/datasets", params={"dry_run": True}, json=plan, headers=mine)
    file = world.http.post("/replicate/v1/files", files={"content": ("a.png", RED)}, headers=mine)
    world.ids |= canary_batch(world.http, mine, CANARY)
    world.ids |= {"plan_id": planned.json()["id"], "upload_id": file.json()["id"]}
    world.ids |= {"job_id": job.json()["id"], "name": "canaries", "upload": upload.json()["id"]}


@pytest.fixture
def document(world: World) -> dict[str, dict[str, Any]]:
    """Operations by `method path`."""
    paths = world.http.get("/openapi.json").json()["paths"]
    return {f"{method} {path}": told for path, item in paths.items() for method, told in item.items()}


def is_of_a_tenant(name: str) -> bool:
    """Whether the path names something that belongs to a tenant."""
    return any(f"{{{parameter}}}" in name for parameter in NOBODYS)


def test_every_route_has_a_row_with_the_scope_that_it_declares(document: dict[str, dict[str, Any]]) -> None:
    assert set(document) == set(ROWS)
    for name, operation in document.items():
        scope = ROWS[name].scope
        assert operation.get("security", []) == ([] if scope is None else [{"ApiKey": [scope.value]}]), name


def test_each_scope_opens_its_routes_and_no_other_one(world: World) -> None:
    wrong: dict[tuple[str, str], tuple[int, str]] = {}
    before = world.kept()
    for name, row in ROWS.items():
        for scope, key in world.owner.items():
            if row.scope is None or scope in (row.scope, Scope.ADMIN):
                continue
            answer = world.ask(name, key)
            if answer.status_code != 403 or f"the scope {row.scope}" not in answer.text:
                wrong[name, scope] = (answer.status_code, answer.text[:200])
    assert wrong == {}
    assert world.kept() == before
    for name, row in ROWS.items():
        answer = world.ask(name, None if row.scope is None else world.owner[row.scope])
        if answer.status_code != row.own:
            wrong[name, "own"] = (answer.status_code, answer.text[:200])
    assert wrong == {}


def test_an_admin_may_do_all_of_it_for_whom_it_names(world: World) -> None:
    wrong: dict[str, tuple[int, str]] = {}
    for name, row in ROWS.items():
        answer = world.ask(name, world.other[Scope.ADMIN], tenant="owner")
        if answer.status_code != row.own:
            wrong[name] = (answer.status_code, answer.text[:200])
    assert wrong == {}


def test_nobody_gets_anything_without_a_key_that_works(world: World) -> None:
    wrong: dict[tuple[str, str | None], int] = {}
    before = world.kept()
    for name, row in ROWS.items():
        for key in (None, "nonsense", written("abcd1234", "s" * 43)):
            answer = world.ask(name, key)
            if answer.status_code != (row.own if row.scope is None else 401) or CANARY in answer.text:
                wrong[name, key] = answer.status_code
    assert wrong == {}
    assert world.kept() == before


def test_what_belongs_to_another_tenant_cannot_be_told_from_what_is_not_there(world: World) -> None:
    """Leaks: 0."""
    leaks: dict[tuple[str, str], tuple[int, str]] = {}
    before = world.kept()
    secrets = (CANARY, *(world.ids[name] for name in ("job_id", "upload", "file_id", "batch_id")), "canaries")
    for name, row in ROWS.items():
        if row.scope is None or row.scope is Scope.ADMIN:
            continue
        # Asked twice, a dataset is one that exists.
        for scope in (row.scope, Scope.ADMIN) if is_of_a_tenant(name) else (row.scope,):
            answer = world.ask(name, world.other[scope])
            told = _told(answer)
            if is_of_a_tenant(name):
                nothing = _told(world.ask(name, world.other[scope], NOBODYS))
                for parameter, value in NOBODYS.items():
                    nothing = nothing.replace(value, world.ids[parameter])
                if (answer.status_code, told) != (404, nothing):
                    leaks[name, scope] = (answer.status_code, told[:300])
            elif answer.status_code != row.own or any(secret in told for secret in secrets):
                leaks[name, scope] = (answer.status_code, told[:300])
    assert leaks == {}
    assert world.kept() == before


def _told(answer: httpx.Response) -> str:
    """All that an answer says, but for the time and the name of the request."""
    own = ("date", "x-request-id")
    return answer.text + repr([(name, value) for name, value in answer.headers.items() if name not in own])


def test_naming_another_tenant_is_refused_on_every_route_that_has_tenants(
    world: World, document: dict[str, dict[str, Any]]
) -> None:
    before, asked = world.kept(), 0
    for name, row in ROWS.items():
        takes = {parameter["name"].lower() for parameter in document[name].get("parameters", [])}
        if "x-latentfarm-tenant" in takes and row.scope is not None:
            answer = world.ask(name, world.other[row.scope], tenant="owner")
            assert answer.status_code == 403, name
            assert CANARY not in answer.text
            asked += 1
    assert asked >= 20
    assert world.kept() == before


def test_an_upload_of_another_tenant_is_no_upload(world: World) -> None:
    submitter = {"Authorization": f"Bearer {world.other[Scope.SUBMIT]}"}
    answers = [
        world.http.post("/v1/jobs", json={"prompt": "x", "strength": 0.5, "image": image}, headers=submitter)
        for image in (world.ids["upload"], NOBODYS["job_id"])
    ]
    told = [answer.text.replace(NOBODYS["job_id"], world.ids["upload"]) for answer in answers]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert told[0] == told[1]
