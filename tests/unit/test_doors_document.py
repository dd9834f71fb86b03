"""What the OpenAPI document says of the routes that have a prefix of their own, for clients of other APIs."""

from __future__ import annotations

from typing import Any

import pytest

from api.app import create_app
from latentfarm.settings import Settings

DOORS = {"/replicate/": ("problem+json", "PredictionProblem"), "/huggingface/": ("json", "InferenceError")}
"""Prefix -> how its failures are told: content type, and schema."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def test_the_routes_are_those_that_were_promised(document: dict[str, Any]) -> None:
    found = {
        f"{method} {path}"
        for path, item in document["paths"].items()
        for method in item
        if path.startswith(tuple(DOORS))
    }
    assert found == {
        "post /replicate/v1/predictions",
        "get /replicate/v1/predictions",
        "get /replicate/v1/predictions/{job_id}",
        "post /replicate/v1/predictions/{job_id}/cancel",
        "get /replicate/v1/models",
        "get /replicate/v1/models/{owner}/{model}",
        "post /replicate/v1/models/{owner}/{model}/predictions",
        "get /replicate/v1/models/{owner}/{model}/versions",
        "get /replicate/v1/models/{owner}/{model}/versions/{version}",
        "post /replicate/v1/files",
        "get /replicate/v1/files",
        "get /replicate/v1/files/{upload_id}",
        "delete /replicate/v1/files/{upload_id}",
        "get /replicate/v1/outputs/{token}/{file}",
        "get /replicate/v1/webhooks/default/secret",
        "post /huggingface/models/{model}",
    }


def test_every_field_is_described(document: dict[str, Any]) -> None:
    for model in (
        "PredictionRequest",
        "PredictionInput",
        "PredictionProblem",
        "InvalidField",
        "PredictionView",
        "PredictionUrls",
        "PredictionPage",
        "ReplicateModel",
        "ReplicateModelPage",
        "VersionView",
        "VersionPage",
        "ReplicateFile",
        "ReplicateFiles",
        "WebhookSecret",
        "InferenceRequest",
        "InferenceParameters",
        "InferenceError",
        "TargetSize",
    ):
        for field, schema in document["components"]["schemas"][model]["properties"].items():
            assert schema.get("description"), (model, field)
