"""Who may use which route, where no key is given or none can be: nothing here reaches a database."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from fastapi import APIRouter
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from api.access import AccessError, needs
from api.app import create_app
from api.binding import is_loopback
from api.deps import Tenant  # noqa: TC001 - FastAPI needs the type at run time
from latentfarm.api_keys import Scope, written
from latentfarm.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

NOWHERE = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint_url="http://127.0.0.1:1",
)
PUBLIC = {"get /healthz", "get /readyz", "get /replicate/v1/outputs/{token}/{file}"}
"""Whoever asks whether the API lives has no key, and a signed link is one itself."""
BESIDE = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
"""What the API says about itself."""
UNKNOWN = f"Bearer {written('abcd1234', 's' * 43)}"


def app(**fields: Any) -> FastAPI:
    return create_app(NOWHERE.model_copy(update=fields))


def client(**fields: Any) -> TestClient:
    return TestClient(app(**fields), base_url="http://127.0.0.1:8400", raise_server_exceptions=False)


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_every_route_declares_one_scope_or_is_public() -> None:
    document = app().openapi()
    declared = {name: operation.get("security", []) for name, operation in operations(document).items()}
    assert {name for name, security in declared.items() if not security} == PUBLIC
    known = [[{"ApiKey": [scope.value]}] for scope in Scope]
    assert {name: security for name, security in declared.items() if security and security not in known} == {}
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"


def test_what_is_not_in_the_document_is_the_document() -> None:
    made = app()
    assert {path for route in made.routes if (path := getattr(route, "path", None)) is not None} == BESIDE


def test_refusals_are_in_the_document() -> None:
    for name, operation in operations(app().openapi()).items():
        assert ({"401", "403"} <= operation["responses"].keys()) == (name not in PUBLIC), name


def test_a_route_without_a_scope_has_no_tenant() -> None:
    """So one that was forgotten answers 500 to everybody, and rows to nobody."""
    forgotten = APIRouter()

    @forgotten.get("/forgotten")
    def forget(tenant: Tenant) -> str:
        return tenant

    made = app()
    made.include_router(forgotten)
    assert TestClient(made, raise_server_exceptions=False).get("/forgotten").status_code == 500


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer x",
        "Bearer sk-live",
        UNKNOWN[:-1],
        UNKNOWN[7:],
        UNKNOWN + " x",
    ],
)
def test_what_is_no_key_is_refused_also_on_loopback(given: str) -> None:
    answer = client().get("/v1/jobs/nonsense", headers={"Authorization": given})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:latentfarm:problem:unauthorized"


def test_two_keys_are_refused() -> None:
    headers = [("Authorization", UNKNOWN), ("Authorization", UNKNOWN)]
    assert client().get("/v1/models/nonsense", headers=headers).status_code == 401


def test_on_loopback_no_key_is_needed_unless_the_settings_say_so() -> None:
    assert client().get("/v1/models/nonsense").status_code == 404
    for fields in ({"require_keys": True}, {"api_host": "0.0.0.0"}, {"api_host": "farm.example.com"}):
        with client(**fields) as http:
            assert http.get("/v1/models/nonsense").status_code == 401
            assert http.get("/healthz").status_code == 200
            assert http.get("/openapi.json").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "Via"])
def test_what_a_proxy_says_is_a_reason_to_refuse_and_never_one_to_trust(header: str) -> None:
    told = {header: "127.0.0.1"}
    assert client(api_host="0.0.0.0").get("/v1/models/nonsense", headers=told).status_code == 401
    assert client().get("/v1/models/nonsense", headers=told).status_code == 401


def test_a_page_of_another_site_needs_a_key() -> None:
    evil, own = {"Origin": "https://evil.example"}, {"Origin": "http://127.0.0.1:8400"}
    assert client().get("/v1/models/nonsense", headers=evil).status_code == 401
    assert client().get("/v1/models/nonsense", headers={"Origin": "null"}).status_code == 401
    assert client().get("/v1/models/nonsense", headers=own).status_code == 404


HOOKED = {"webhook_id": "default", "delivery_id": UUID(int=7)}


def test_a_refusal_comes_before_the_body_is_looked_at() -> None:
    http = client(require_keys=True)
    asked = 0
    for path, item in http.get("/openapi.json").json()["paths"].items():
        for method, operation in item.items():
            if "requestBody" in operation:
                known = {"job_id": UUID(int=7), "prefix": "abcd1234"}
                where = path.format_map(defaultdict(lambda: "a", known))
                answer = http.request(
                    method, where, content=b"{", headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 401, (method, path)
                asked += 1
    assert asked >= 10


def test_keys_are_not_made_without_one() -> None:
    answer = client().post("/v1/keys", json={"name": "a", "scopes": ["admin"]})
    assert answer.status_code == 401
    assert "scope admin" in answer.json()["detail"]


class Shaped(Exception):  # noqa: N818 - a shape
    def __init__(self, error: AccessError) -> None:
        super().__init__(error.detail)
        self.error = error


def test_routes_in_the_shape_of_others_take_any_token_and_shape_their_refusals() -> None:
    router = APIRouter(dependencies=[needs(Scope.SUBMIT, any_bearer=True, refusal=Shaped)])

    @router.post("/v1/foreign")
    def foreign(tenant: Tenant) -> list[str]:
        return [tenant]

    def shape(_: object, error: Exception) -> JSONResponse:
        assert isinstance(error, Shaped)
        return JSONResponse(
            {"error": {"message": str(error)}}, error.error.status, headers=error.error.headers
        )

    def ask(given: str, **fields: Any) -> Any:
        made = app(**fields)
        made.include_router(router)
        made.add_exception_handler(Shaped, shape)
        return TestClient(made, base_url="http://localhost").post(
            "/v1/foreign", headers={"Authorization": given}
        )

    assert ask("Bearer sk-anything").json() == [""]
    refused = ask("Bearer sk-anything", require_keys=True)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "scope submit" in refused.json()["error"]["message"]
    assert ask("Bearer lf_nonsense").status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "localhost.example.com", ""])
def test_anything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8400", "[::1]:8400", "127.8.9.1:1", "farm.localhost"]
)
def test_on_loopback_no_key_is_needed_under_a_name_of_this_machine(host: str) -> None:
    assert client().get("/v1/models/nonsense", headers={"Host": host}).status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "evil.example.com:8400", "127.0.0.1.evil.example.com", "10.0.0.7", "localhost."],
)
def test_a_name_that_was_made_to_lead_to_loopback_needs_a_key(host: str) -> None:
    answer = client().get("/v1/models/nonsense", headers={"Host": host})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:latentfarm:problem:unauthorized")
    # Where clients find the API is no stranger's name.
    known = client(api_url=f"http://{host}")
    assert known.get("/v1/models/nonsense", headers={"Host": host}).status_code == 404


def test_strangers_are_told_whether_the_api_is_ready_and_nothing_else() -> None:
    def checks(http: TestClient, **headers: str) -> dict[str, str]:
        answer = http.get("/readyz", headers=headers)
        assert answer.status_code == 503
        return {check["name"]: check["detail"] for check in answer.json()["checks"]}

    with client() as http:
        assert checks(http)["database"]
    with client(api_host="0.0.0.0") as http:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": UNKNOWN}):
            assert set(checks(http, **headers).values()) == {""}
