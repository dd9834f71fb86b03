"""Every route with every scope, as its own tenant, as another one, and as nobody: drawn from the OpenAPI document.

A route of the document without a row here fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from latentfarm.api_keys import Scope, written
from latentfarm.key_ring import KeyRing
from tests.integration.asking import BIRDS
from tests.integration.batching import canary_batch
from tests.integration.door_rows import DOOR_ROWS
from tests.integration.pictures import RED
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

CANARY = "a canary in a coal mine"
HOST = "hooks.example.com"
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


@dataclass(frozen=True)
class Row:
    """How a route is asked; None for a scope: it is open to all.

    Attributes:
        own: the status that the tenant itself gets with the scope.
        fill: parameters of the path that are nobody's.
    """

    scope: Scope | None
    own: int
    body: dict[str, Any] | None = None
    fill: dict[str, str] = field(default_factory=dict)


ROWS = {
    "post /v1/jobs": Row(Scope.SUBMIT, 202, {"prompt": "x", "lane": "bulk"}),
    "get /v1/jobs": Row(Scope.READ, 200),
    "get /v1/jobs/{job_id}": Row(Scope.READ, 200),
    "post /v1/jobs/{job_id}/refine": Row(Scope.SUBMIT, 202, {"source": "image"}),
    "get /v1/jobs/{job_id}/events": Row(Scope.READ, 200),
    "get /v1/jobs/{job_id}/images/{index}": Row(Scope.READ, 307),
    "get /v1/jobs/{job_id}/images/{index}/attempts": Row(Scope.READ, 200),
    "post /v1/jobs/{job_id}/pause": Row(Scope.CANCEL, 200),
    "post /v1/jobs/{job_id}/resume": Row(Scope.CANCEL, 200),
    # All of its images are there.
    "post /v1/jobs/{job_id}/retry": Row(Scope.SUBMIT, 409),
    "post /v1/jobs/{job_id}/cancel": Row(Scope.CANCEL, 200),
    # The last of its job: nothing of it is to be had behind this one.
    "delete /v1/jobs/{job_id}": Row(Scope.CANCEL, 204),
    "post /v1/datasets": Row(Scope.SUBMIT, 201, BIRDS),
    "get /v1/datasets": Row(Scope.READ, 200),
    "get /v1/datasets/{name}": Row(Scope.READ, 200),
    "get /v1/datasets/{name}/failures": Row(Scope.READ, 200),
    "get /v1/datasets/{name}/files": Row(Scope.READ, 200),
    "post /v1/datasets/{name}/pause": Row(Scope.CANCEL, 200),
    "post /v1/datasets/{name}/resume": Row(Scope.CANCEL, 200),
    "post /v1/datasets/{name}/retry-failed": Row(Scope.SUBMIT, 200),
    "post /v1/datasets/{name}/cancel": Row(Scope.CANCEL, 200),
    "post /v1/uploads": Row(Scope.SUBMIT, 201, {"size": 5}),
    "get /v1/models": Row(Scope.READ, 200),
    "get /v1/models/{model}": Row(Scope.READ, 200, fill={"model": "tiny"}),
    "get /v1/plans/{plan_id}": Row(Scope.READ, 200),
    # Without a worker they wait for as long as they may; nobody edits without a picture.
    "post /v1/images/generations": Row(Scope.SUBMIT, 504, {"prompt": "x"}),
    "post /v1/images/edits": Row(Scope.SUBMIT, 400, {}),
    "post /v1/files": Row(Scope.SUBMIT, 400, {}),
    "get /v1/files": Row(Scope.READ, 200),
    "get /v1/files/{file_id}": Row(Scope.READ, 200),
    "get /v1/files/{file_id}/content": Row(Scope.READ, 200),
    "post /v1/batches": Row(Scope.SUBMIT, 400, {}),
    "get /v1/batches": Row(Scope.READ, 200),
    "get /v1/batches/{batch_id}": Row(Scope.READ, 200),
    "post /v1/batches/{batch_id}/cancel": Row(Scope.CANCEL, 200),
    "delete /v1/files/{file_id}": Row(Scope.SUBMIT, 200),
    "get /v1/tenants": Row(Scope.ADMIN, 200),
    "get /v1/tenants/{name}": Row(Scope.ADMIN, 200, fill={"name": "owner"}),
    "patch /v1/tenants/{name}": Row(Scope.ADMIN, 200, {"weight": 2}, fill={"name": "owner"}),
    "get /v1/workers": Row(Scope.ADMIN, 200),
    "post /v1/workers/drain": Row(Scope.ADMIN, 404, {"worker": "nowhere"}),
    "post /v1/workers/resume": Row(Scope.ADMIN, 404, {"worker": "nowhere"}),
    "get /v1/queues": Row(Scope.ADMIN, 200),
    "post /v1/queues/{name}/drain": Row(Scope.ADMIN, 200, fill={"name": "base.tiny.bulk"}),
    "post /v1/queues/{name}/resume": Row(Scope.ADMIN, 200, fill={"name": "base.tiny.bulk"}),
    "post /v1/keys": Row(Scope.ADMIN, 201, {"name": "made", "scopes": ["read"]}),
    "get /v1/keys": Row(Scope.ADMIN, 200),
    "post /v1/keys/{prefix}/rotate": Row(Scope.ADMIN, 201, {}),
    "delete /v1/keys/{prefix}": Row(Scope.ADMIN, 200),
    "get /v1/webhooks": Row(Scope.READ, 200),
    "post /v1/webhooks": Row(Scope.SUBMIT, 201, {"url": f"https://{HOST}/"}),
    "get /v1/webhooks/default/secret": Row(Scope.SUBMIT, 200),
    "get /v1/webhooks/{webhook_id}": Row(Scope.READ, 200),
    "patch /v1/webhooks/{webhook_id}": Row(Scope.SUBMIT, 200, {"events": ["job.failed"]}),
    "post /v1/webhooks/{webhook_id}/rotate": Row(Scope.SUBMIT, 200, {}),
    "get /v1/webhooks/{webhook_id}/deliveries": Row(Scope.READ, 200),
    "post /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Row(Scope.SUBMIT, 202),
    "post /v1/webhooks/{webhook_id}/replay": Row(Scope.SUBMIT, 202, {"since": "2026-01-01T00:00:00Z"}),
    "delete /v1/webhooks/{webhook_id}": Row(Scope.SUBMIT, 204),
    "get /metrics": Row(Scope.ADMIN, 200),
    "get /healthz": Row(None, 200),
    "get /readyz": Row(None, 200),
}
ROWS |= {name: Row(*fields) for name, fields in DOOR_ROWS.items()}
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
    """All that an answer says, but for the time."""
    return answer.text + repr([(name, value) for name, value in answer.headers.items() if name != "date"])


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
