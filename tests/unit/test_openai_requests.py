"""OpenAI's parameters as specs, and what is refused. The services are unreachable, so nothing can be stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.openai.requests import GenerationRequest
from api.openai.translation import shown_quality, to_spec
from latentfarm.registry import Registry, load_registry
from latentfarm.settings import Settings
from latentfarm.spec import RenderSpec

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint_url="http://127.0.0.1:1",
)
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(NOWHERE), base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(ROOT / "models" / "models.toml")


def spec_of(registry: Registry, **fields: Any) -> RenderSpec:
    return to_spec(GenerationRequest.model_validate({"prompt": "a", **fields}), registry)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({}, {}),
        ({"model": None, "n": None, "size": None, "user": None, "quality": None}, {}),
        ({"model": "sdxl"}, {"model": "sdxl"}),
        ({"n": 10}, {"num_images": 10}),
        ({"size": "auto"}, {}),
        ({"size": "96x128"}, {"width": 96, "height": 128}),
        ({"output_format": "webp"}, {"output": {"format": "webp"}}),
        (
            {"output_format": "jpeg", "output_compression": 70},
            {"output": {"format": "jpeg", "quality": 70}},
        ),
        ({"output_format": "jpeg", "output_compression": 0}, {"output": {"format": "jpeg", "quality": 1}}),
        ({"output_compression": 100}, {}),
        ({"quality": "low"}, {"num_inference_steps": 25}),
        ({"quality": "low", "num_inference_steps": 7}, {"num_inference_steps": 7}),
        ({"quality": "low", "timesteps": [900, 500]}, {"timesteps": (900, 500)}),
        ({"quality": "medium"}, {}),
        ({"quality": "standard"}, {}),
        ({"quality": "hd"}, {"refiner": {"mode": "ensemble"}}),
        ({"quality": "high", "refiner": None}, {}),
        ({"quality": "max", "refiner": {"mode": "image"}}, {"refiner": {"mode": "image"}}),
        ({"user": "u", "metadata": {"a": "b"}}, {"metadata": {"a": "b", "user": "u"}}),
        ({"safety_identifier": "s", "user": ""}, {"metadata": {"safety_identifier": "s"}}),
        (
            {"style": "vivid", "moderation": "low", "background": "opaque", "complexity": "high"},
            {},
        ),
        ({"stream": True, "partial_images": 3}, {}),
        (
            {"seed": 5, "guidance_scale": 3, "negative_prompt": "b", "sampler": "ddim"},
            {"seed": 5, "guidance_scale": 3.0, "negative_prompt": "b", "sampler": "ddim"},
        ),
    ],
)
def test_a_request_means_a_spec(registry: Registry, sent: dict[str, Any], meant: dict[str, Any]) -> None:
    assert spec_of(registry, **sent) == RenderSpec.model_validate({"prompt": "a", **meant})


def test_a_model_without_a_refiner_has_no_finer_quality(registry: Registry) -> None:
    entry = registry.get("tiny")
    alone = Registry({"tiny": entry.model_copy(update={"refiner": None, "steps": 5})})
    assert spec_of(alone, quality="high").refiner is None
    assert spec_of(alone, quality="low").num_inference_steps == 2


def test_answers_call_the_quality_by_one_of_three_names() -> None:
    names = ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd", None)
    shown = [
        shown_quality(GenerationRequest.model_validate({"prompt": "a", "quality": name})) for name in names
    ]
    assert shown == ["medium", "low", "medium", "high", "high", "high", "medium", "high", "medium"]


# (fields, status, param, a word of the message)
REFUSED = [
    ({"prompt": None}, 400, "prompt", "text"),
    ({"prompt": "x" * 8193}, 400, "prompt", "8192"),
    ({"model": "gpt-image-1"}, 404, "model", "sdxl, tiny"),
    ({"model": "dall-e-3"}, 404, "model", "sdxl, tiny"),
    ({"n": 0}, 400, "n", "1 to 10"),
    ({"n": 11}, 400, "n", "1 to 10"),
    ({"n": "2"}, 400, "n", "1 to 10"),
    ({"size": "big"}, 400, "size", "WIDTHxHEIGHT"),
    ({"size": "64x"}, 400, "size", "WIDTHxHEIGHT"),
    ({"size": "100x64"}, 400, "size", "multiple of 8"),
    ({"size": "1024x1024"}, 400, "size", "64 to 256"),
    ({"size": "99999x8"}, 400, "size", "8 to 16384"),
    ({"response_format": "file"}, 400, "response_format", "b64_json, url"),
    ({"output_format": "gif"}, 400, "output_format", "png, jpeg, webp"),
    ({"output_compression": 50}, 400, "output_compression", "a PNG loses nothing"),
    ({"output_compression": 101, "output_format": "webp"}, 400, "output_compression", "0 to 100"),
    ({"quality": "ultra"}, 400, "quality", "low"),
    ({"background": "transparent"}, 400, "background", "opaque, auto"),
    ({"moderation": "high"}, 400, "moderation", "low, auto"),
    ({"partial_images": 4, "stream": True}, 400, "partial_images", "0 to 3"),
    ({"partial_images": 1}, 400, "partial_images", "with stream=true"),
    ({"stream": True, "response_format": "url"}, 400, "response_format", "b64_json"),
    ({"stream": 1}, 400, "stream", "true or false"),
    ({"num_images": 2}, 400, "n", "has another name on this route"),
    ({"width": 64}, 400, "size", "has another name on this route"),
    ({"output": {"format": "png"}}, 400, "output", "output_format"),
    ({"webhook": "https://a.example"}, 400, "webhook", "stream"),
    ({"metadata": "x"}, 400, "metadata", "an object"),
    ({"user": "x" * 513}, 400, "user", "512"),
    ({"num_inference_steps": 0}, 400, "num_inference_steps", "1 to 200"),
    ({"num_inference_steps": "5"}, 400, "num_inference_steps", "1 to 200"),
    ({"negativ_prompt": "x"}, 400, "negativ_prompt", "negative_prompt"),
    ({"sampler": "magic"}, 400, "sampler", "euler"),
    ({"seed": 2**53}, 400, "seed", "under"),
]


@pytest.mark.parametrize(("fields", "status", "param", "told"), REFUSED)
def test_what_cannot_be_kept_is_refused_in_openais_shape(
    client: TestClient, fields: dict[str, Any], status: int, param: str, told: str
) -> None:
    answer = client.post(GENERATIONS, json={"prompt": "a red circle", "model": "tiny", **fields})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert told in error["message"]
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"prompt":"a","prompt":"b"}', "application/json", 400, "malformed_json"),
        (b'{"prompt":"a\\u0000"}', "application/json", 400, "invalid"),
        (b"prompt=a", "application/x-www-form-urlencoded", 400, "unsupported_media_type"),
        (b" " * 1_048_577, "application/json", 413, "request_entity_too_large"),
    ],
    ids=["json", "twice", "nul", "form", "large"],
)
def test_what_is_no_request_is_refused_in_openais_shape(
    client: TestClient, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = client.post(GENERATIONS, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_other_answers_of_these_paths_have_openais_shape_too(client: TestClient) -> None:
    away = client.post(GENERATIONS, json={"prompt": "a", "model": "tiny"})
    assert (away.status_code, away.json()["error"]["type"]) == (503, "server_error")
    assert int(away.headers["retry-after"]) > 0
    key = client.post(GENERATIONS, json={"prompt": "a"}, headers={"Idempotency-Key": ""})
    assert (key.status_code, key.json()["error"]["param"]) == (400, "Idempotency-Key")
    for method, path, status in (("GET", GENERATIONS, 405), ("POST", "/v1/images/variations", 404)):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")


def test_problems_of_the_shared_paths_serve_both_kinds_of_client(client: TestClient) -> None:
    answer = client.get("/v1/models/gpt-image-1")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == "urn:latentfarm:problem:not_found"
    assert problem["error"] == {
        "message": problem["detail"],
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }
    assert "sdxl, tiny" in problem["detail"]
    assert "error" not in client.get("/v1/nothing").json()
