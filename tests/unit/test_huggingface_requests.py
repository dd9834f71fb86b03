"""Parameters of `InferenceClient` as specs, and what is refused. The services are unreachable, so nothing can be stored."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.huggingface.requests import InferenceRequest
from api.huggingface.translation import to_spec
from latentfarm.settings import Settings
from latentfarm.spec import RenderSpec

NOWHERE = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint_url="http://127.0.0.1:1",
)
URL = "/huggingface/models/tiny"


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(NOWHERE), base_url="http://localhost", raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({}, {}),
        ({"negative_prompt": None, "seed": None, "scheduler": None}, {}),
        (
            {"negative_prompt": "b", "width": 64, "height": 72, "num_inference_steps": 5, "seed": 3},
            None,
        ),
        ({"guidance_scale": 3}, {"guidance_scale": 3.0}),
        ({"scheduler": "EulerAncestralDiscreteScheduler"}, {"sampler": "euler_ancestral"}),
        ({"scheduler": "DDIMScheduler", "eta": 0.5}, {"sampler": "ddim", "eta": 0.5}),
        ({"scheduler": "dpmpp_2m"}, {"sampler": "dpmpp_2m"}),
        ({"target_size": {"width": 64, "height": 72}}, {"width": 64, "height": 72}),
        ({"refiner": {"mode": "image"}, "output": {"format": "webp"}, "reproducible": True}, None),
    ],
)
def test_parameters_mean_a_spec(sent: dict[str, Any], meant: dict[str, Any] | None) -> None:
    spec, brought = to_spec(InferenceRequest(inputs="a", parameters=sent), "tiny")
    assert spec == RenderSpec.model_validate({"prompt": "a", **(sent if meant is None else meant)})
    assert brought == {}


def test_a_prompt_beside_it_makes_the_input_a_picture() -> None:
    sent = {"prompt": "a", "strength": 0.5}
    asked = InferenceRequest(inputs=base64.b64encode(b"picture").decode(), parameters=sent)
    spec, brought = to_spec(asked, "tiny")
    sha256 = hashlib.sha256(b"picture").digest()
    assert dict(brought) == {sha256: b"picture"}
    assert spec == RenderSpec(prompt="a", strength=0.5, image=f"sha256:{sha256.hex()}")


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20_000)).decode()
# (body, field, a word of the message)
REFUSED = [
    ({"inputs": None}, "inputs", "text"),
    ({"inputs": "x" * 8193}, "inputs", "8192"),
    ({"parameters": []}, "parameters", "an object"),
    ({"options": {}}, "options", "unknown field"),
    ({"parameters": {"model": "sdxl"}}, "model", "the URL"),
    ({"parameters": {"sampler": "euler"}}, "sampler", "scheduler"),
    ({"parameters": {"num_images": 2}}, "num_images", "one request for each"),
    ({"parameters": {"webhook": "https://a.example"}}, "webhook", "POST /v1/jobs"),
    ({"parameters": {"scheduler": "Magic"}}, "scheduler", "euler"),
    ({"parameters": {"scheduler": 5}}, "scheduler", "euler"),
    ({"parameters": {"width": 1024}}, "width", "64 to 256"),
    ({"parameters": {"width": 64, "target_size": {"width": 64, "height": 64}}}, "width", "twice"),
    ({"parameters": {"target_size": {"width": 64}}}, "target_size.height", "required"),
    ({"parameters": {"negativ_prompt": "x"}}, "negativ_prompt", "negative_prompt"),
    ({"parameters": {"seed": -1}}, "seed", "at least 0"),
    ({"inputs": "no base64!", "parameters": {"prompt": "a"}}, "inputs", "base64"),
    # Small pictures without a prompt would be painted as the words that they are not.
    ({"inputs": PNG, "parameters": {"strength": 0.5}}, "prompt", "beside a picture"),
    ({"inputs": JPEG}, "prompt", "beside a picture"),
    ({"parameters": {"prompt": "a", "image": "https://a.example/b.png"}}, "image", "already"),
]


@pytest.mark.parametrize(("body", "field", "told"), REFUSED)
def test_what_cannot_be_kept_is_refused_with_a_sentence(
    client: TestClient, body: dict[str, Any], field: str, told: str
) -> None:
    answer = client.post(URL, json={"inputs": "aaaa", **body})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json"), answer.text
    error = answer.json()
    assert set(error) == {"error", "error_type", "field"}
    assert error["field"] == field, error
    assert told in error["error"]
    assert error["error"].startswith(f"{field}: ")


def test_other_failures_have_that_shape_too(client: TestClient) -> None:
    missing = client.post("/huggingface/models/none", json={"inputs": "a"})
    assert missing.status_code == 404
    assert missing.json() == {"error": "no model 'none'; there are: sdxl, tiny", "error_type": "not_found"}
    raw = client.post(URL, content=b"picture", headers={"Content-Type": "image/png"})
    assert (raw.status_code, raw.json()["field"]) == (415, "Content-Type")
    away = client.post(URL, json={"inputs": "a"})
    assert (away.status_code, away.json()["error_type"]) == (503, "service_unavailable")


LARGE = base64.b64encode(bytes(3_000_000)).decode()


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"inputs": LARGE, "parameters": {"strength": 0.5}}, 422, "prompt: required, but missing"),
        ({"inputs": LARGE, "parameters": {"prompt": "a", "seed": -1}}, 422, "seed: "),
        ({"inputs": LARGE[:-1], "parameters": {"prompt": "a"}}, 422, "inputs: not base64"),
        ({"inputs": LARGE[:-1] + "!", "parameters": {"prompt": "a"}}, 413, "at most 1048576 bytes"),
        # Where there is more than that beside the picture, or it is in another place.
        ({"inputs": LARGE, "parameters": {"prompt": "a " * 600_000}}, 413, "at most 1048576 bytes"),
        ({"parameters": {"inputs": LARGE}, "inputs": "a"}, 413, "at most 1048576 bytes"),
        ({"parameters": {"prompt": LARGE}, "inputs": "a"}, 413, "at most 1048576 bytes"),
        ({"inputs": "A" * 29_100_000}, 413, "at most 29010"),
    ],
)
def test_what_is_wrong_with_a_large_request_is_told_too(
    client: TestClient, body: dict[str, Any], status: int, told: str
) -> None:
    answer = client.post(URL, json=body)
    assert (answer.status_code, told in answer.json()["error"]) == (status, True), answer.text[:300]
