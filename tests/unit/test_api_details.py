"""Small things of HTTP that a client may rely on: methods that a path has, times, examples of bodies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.examples import BODIES
from api.openai.requests import GenerationRequest
from latentfarm.fleet_views import WorkerChoice
from latentfarm.key_views import KeyRequest, RotateRequest
from latentfarm.manifests.request import DatasetRequest
from latentfarm.refinement import RefineRequest
from latentfarm.settings import Settings
from latentfarm.spec import RenderSpec
from latentfarm.tenant_views import TenantSettings
from latentfarm.views import UploadRequest

if TYPE_CHECKING:
    from pydantic import BaseModel

MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        RenderSpec,
        RefineRequest,
        UploadRequest,
        DatasetRequest,
        TenantSettings,
        WorkerChoice,
        KeyRequest,
        RotateRequest,
        GenerationRequest,
    )
}


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(Settings()), base_url="http://localhost")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs", "GET, POST"),
        ("/v1/keys", "GET, POST"),
        ("/v1/tenants/acme", "GET, PATCH"),
        ("/v1/jobs/7/cancel", "POST"),
        ("/healthz", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "BREW"])
def test_an_unknown_method_is_told_every_method_of_the_path(
    client: TestClient, path: str, methods: str, method: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert answer.json()["type"] == "urn:latentfarm:problem:method_not_allowed"


@pytest.mark.parametrize(
    "value", ["1700000000", "0.5", "2026-01-01T00:00:00", "2026-01-01", "-1", "yesterday"]
)
@pytest.mark.parametrize("name", ["created_after", "created_before"])
def test_a_time_is_written_out_with_its_offset(client: TestClient, name: str, value: str) -> None:
    answer = client.get("/v1/jobs", params={name: value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name)


@pytest.mark.parametrize("name", BODIES)
def test_every_example_of_a_body_is_one(client: TestClient, name: str) -> None:
    MODELS[name].model_validate_json(json.dumps(BODIES[name]), strict=True)
    paths = client.get("/openapi.json").json()["paths"]
    shown = [
        content.get("example")
        for item in paths.values()
        for operation in item.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if content["schema"].get("$ref", "").endswith(f"/{name}")
    ]
    assert shown
    assert shown == [BODIES[name]] * len(shown)
