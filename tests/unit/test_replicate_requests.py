"""Replicate's inputs as specs, and what is refused. The services are unreachable, so nothing can be stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.replicate.models import COG_VERSION, entry_of
from api.replicate.translation import to_spec
from latentfarm.errors import InvalidInput
from latentfarm.model_versions import version_of
from latentfarm.registry import Registry, load_registry
from latentfarm.settings import Settings
from latentfarm.spec import RenderSpec

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint_url="http://127.0.0.1:1",
)
PREDICTIONS = "/replicate/v1/predictions"
OF_TINY = "/replicate/v1/models/latentfarm/tiny/predictions"
PICTURE = "https://pictures.example/a.png"


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(NOWHERE), base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(ROOT / "models" / "models.toml")


def spec_of(registry: Registry, **fields: Any) -> RenderSpec:
    return to_spec({"prompt": "a", **fields}, registry.get("tiny"))


ENSEMBLE, REWORK = "expert_ensemble_refiner", "base_image_refiner"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({}, {}),
        ({"seed": None, "width": None, "mask": None, "scheduler": None}, {}),
        ({"num_outputs": 4, "seed": 7}, {"num_images": 4, "seed": 7}),
        ({"width": 96, "height": 128, "negative_prompt": ""}, None),
        ({"guidance_scale": 3}, {"guidance_scale": 3.0}),
        ({"scheduler": "K_EULER"}, {"sampler": "euler"}),
        ({"scheduler": "KarrasDPM"}, {"sampler": "dpmpp_2m", "sigma_schedule": "karras"}),
        ({"scheduler": "DPMSolverMultistep"}, {"sampler": "dpmpp_2m"}),
        ({"scheduler": "K_EULER_ANCESTRAL"}, {"sampler": "euler_ancestral"}),
        ({"scheduler": "dpmpp_3m"}, {"sampler": "dpmpp_3m"}),
        ({"scheduler": "DPMSolverMultistepScheduler"}, {"sampler": "dpmpp_2m"}),
        ({"refine": "no_refiner", "high_noise_frac": 0.8, "refine_steps": 5}, {}),
        ({"refine": ENSEMBLE}, {"refiner": {"mode": "ensemble"}}),
        ({"refine": ENSEMBLE, "high_noise_frac": 0.7}, {"refiner": {"high_noise_frac": 0.7}}),
        ({"refine": REWORK, "refine_steps": 9}, {"refiner": {"mode": "image", "num_inference_steps": 9}}),
        ({"refine": REWORK, "high_noise_frac": 0.7}, {"refiner": {"mode": "image"}}),
        ({"refiner": {"mode": "image", "strength": 0.2}}, {"refiner": {"mode": "image", "strength": 0.2}}),
        ({"prompt_strength": 0.4}, {}),
        ({"image": PICTURE}, {"image": PICTURE, "strength": 0.8}),
        ({"image": PICTURE, "prompt_strength": 0.4}, {"image": PICTURE, "strength": 0.4}),
        ({"image": PICTURE, "refiner": {"mode": "only"}}, {"image": PICTURE, "refiner": {"mode": "only"}}),
        (
            {"image": PICTURE, "mask": f"{PICTURE}?"},
            {"image": PICTURE, "mask_image": f"{PICTURE}?", "strength": 0.8},
        ),
        ({"output_format": "jpg", "output_quality": 0}, {"output": {"format": "jpeg", "quality": 1}}),
        ({"output_format": "webp"}, {"output": {"format": "webp"}}),
        ({"output_quality": 100}, {}),
        ({"apply_watermark": False, "disable_safety_checker": True, "lora_scale": 0.6}, {}),
        ({"lane": "bulk", "metadata": {"a": "b"}, "eta": 0.5}, None),
    ],
)
def test_inputs_mean_a_spec(registry: Registry, sent: dict[str, Any], meant: dict[str, Any] | None) -> None:
    """None: the spec has the same fields."""
    fields = {"prompt": "a", "guidance_scale": 7.5, **(sent if meant is None else meant)}
    assert spec_of(registry, **sent) == RenderSpec.model_validate(fields)


def test_a_model_with_guidance_of_its_own_keeps_it(registry: Registry) -> None:
    entry = registry.get("tiny").model_copy(update={"guidance_scale": 1.0})
    assert to_spec({"prompt": "a"}, entry).guidance_scale is None


# (inputs, field, a word of the description)
REFUSED = [
    ({"prompt": None}, "input.prompt", "required"),
    ({"prompt": 5}, "input.prompt", "text"),
    ({"num_outputs": 11}, "input.num_outputs", "1 to 10"),
    ({"num_outputs": "2"}, "input.num_outputs", "1 to 10"),
    ({"num_images": 2}, "input.num_images", "num_outputs"),
    ({"strength": 0.5}, "input.strength", "prompt_strength"),
    ({"mask_image": PICTURE}, "input.mask_image", "mask"),
    ({"sampler": "euler"}, "input.sampler", "scheduler"),
    ({"output": {"format": "png"}}, "input.output", "output_format"),
    ({"model": "tiny"}, "input.model", "beside input"),
    ({"webhook": PICTURE}, "input.webhook", "beside input"),
    ({"scheduler": "magic"}, "input.scheduler", "K_EULER"),
    ({"scheduler": "KarrasDPM", "sigma_schedule": "beta"}, "input.sigma_schedule", "KarrasDPM"),
    ({"refine": "yes"}, "input.refine", "base_image_refiner"),
    ({"refine": ENSEMBLE, "refiner": {}}, "input.refiner", "once"),
    ({"refine": ENSEMBLE, "high_noise_frac": 1.5}, "input.high_noise_frac", "under 1"),
    ({"apply_watermark": True}, "input.apply_watermark", "false"),
    ({"disable_safety_checker": False}, "input.disable_safety_checker", "true"),
    ({"output_quality": 50}, "input.output_quality", "a PNG loses nothing"),
    ({"mask": PICTURE}, "input.mask", "without image"),
    ({"image": "/tmp/a.png"}, "input.image", "a data URL"),
    ({"image": "http://pictures.example/a.png"}, "input.image", "https"),
    ({"width": 1024}, "input.width", "64 to 256"),
    ({"width": 100}, "input.width", "multiple of 8"),
    ({"negativ_prompt": "x"}, "input.negativ_prompt", "negative_prompt"),
    ({"num_inference_steps": 0}, "input.num_inference_steps", "1 to 200"),
    ({"refiner": {"mode": "magic"}}, "input.refiner.mode", "ensemble"),
    ({"scheduler": "edm_euler"}, "input.scheduler", "EDM"),
    ({"replicate_weights": PICTURE}, "input.replicate_weights", "unknown field"),
]


@pytest.mark.parametrize(("inputs", "field", "told"), REFUSED)
def test_inputs_that_cannot_be_kept_are_refused_in_replicates_shape(
    client: TestClient, inputs: dict[str, Any], field: str, told: str
) -> None:
    answer = client.post(OF_TINY, json={"input": {"prompt": "a", **inputs}})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), (
        answer.text
    )
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "invalid_fields"}
    assert (problem["title"], problem["status"]) == ("Input validation failed", 422)
    (wrong,) = problem["invalid_fields"]
    assert wrong["field"] == field, wrong
    assert told in wrong["description"]
    assert problem["detail"].startswith(f"- {field}: ")


def test_every_wrong_input_is_named(client: TestClient) -> None:
    answer = client.post(OF_TINY, json={"input": {"prompt": "a", "width": 9, "seed": -1, "negativ": 1}})
    fields = [wrong["field"] for wrong in answer.json()["invalid_fields"]]
    assert sorted(fields) == ["input.negativ", "input.seed", "input.width"]


# Each is refused with this status, and names this field.
FRAMES: list[tuple[str, dict[str, Any], dict[str, str], int, str | None]] = [
    (PREDICTIONS, {}, {}, 422, "version"),
    (PREDICTIONS, {"version": "x", "model": "latentfarm/tiny"}, {}, 422, "version"),
    (PREDICTIONS, {"version": "0" * 64}, {}, 422, "version"),
    (PREDICTIONS, {"version": "latentfarm/tiny:1"}, {}, 422, "version"),
    (PREDICTIONS, {"version": "stability-ai/sdxl"}, {}, 422, "version"),
    (PREDICTIONS, {"model": "tiny"}, {}, 422, "model"),
    (PREDICTIONS, {"model": "latentfarm/none"}, {}, 422, "model"),
    (PREDICTIONS, {"model": "latentfarm/tiny", "input": 5}, {}, 422, "input"),
    (PREDICTIONS, {"model": "latentfarm/tiny", "inputs": {}}, {}, 422, "inputs"),
    (OF_TINY, {"version": "0" * 64}, {}, 422, "version"),
    (OF_TINY, {"model": "latentfarm/tiny"}, {}, 422, "model"),
    (OF_TINY, {"stream": True}, {}, 422, "stream"),
    (OF_TINY, {"webhook_completed": PICTURE}, {}, 422, "webhook_completed"),
    (OF_TINY, {"webhook": PICTURE, "webhook_events_filter": ["end"]}, {}, 422, "webhook_events_filter.0"),
    (OF_TINY, {"webhook_events_filter": ["start"]}, {}, 422, "webhook_events_filter"),
    (OF_TINY, {}, {"Prefer": "wait=61"}, 422, "Prefer"),
    (OF_TINY, {}, {"Prefer": "wait, wait=3"}, 422, "Prefer"),
    (OF_TINY, {}, {"Cancel-After": "30s"}, 422, "Cancel-After"),
    (OF_TINY, {}, {"Idempotency-Key": "k" * 256}, 422, "Idempotency-Key"),
    (OF_TINY.replace("tiny", "none"), {}, {}, 404, None),
    (OF_TINY.replace("latentfarm", "stability-ai"), {}, {}, 404, None),
]


@pytest.mark.parametrize(("path", "body", "headers", "status", "field"), FRAMES)
def test_what_is_wrong_around_the_inputs_is_named(
    client: TestClient,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
    status: int,
    field: str | None,
) -> None:
    answer = client.post(path, json={"input": {"prompt": "a"}, **body}, headers=headers)
    assert answer.status_code == status, answer.text
    named = [wrong["field"] for wrong in answer.json().get("invalid_fields", [])]
    assert named == ([] if field is None else [field])
    assert answer.json()["detail"]


def test_a_body_that_is_no_json_is_refused_in_replicates_shape(client: TestClient) -> None:
    for body, kind, status in ((b"{", "application/json", 400), (b"a=b", "text/plain", 415)):
        answer = client.post(PREDICTIONS, content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize("prefer", ["wait", "wait=5", "respond-async, Wait", "wait;x=1"])
def test_a_wait_may_be_bare(client: TestClient, prefer: str) -> None:
    """What passes comes as far as the database, which is away."""
    answer = client.post(OF_TINY, json={"input": {"prompt": "a"}}, headers={"Prefer": prefer})
    assert (answer.status_code, answer.json()["title"]) == (503, "Service Unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_a_model_is_named_in_each_way_that_clients_have(registry: Registry) -> None:
    tiny = registry.get("tiny")
    version = version_of(tiny)
    for told in (version, "latentfarm/tiny", f"latentfarm/tiny:{version}"):
        assert entry_of(registry, told, None) is tiny
    assert entry_of(registry, None, "latentfarm/tiny") is tiny
    with pytest.raises(InvalidInput, match="latentfarm/sdxl, latentfarm/tiny"):
        entry_of(registry, None, "someone/tiny")


def test_a_version_says_what_a_model_is_and_not_where(registry: Registry) -> None:
    tiny = registry.get("tiny")
    moved = tiny.model_copy(update={"base": "/elsewhere/tiny/base", "refiner": "/x/tiny/refiner"})
    assert version_of(moved) == version_of(tiny)
    assert version_of(tiny.model_copy(update={"max_images": 5, "bucket": 1})) == version_of(tiny)
    for change in ({"base": "/x/tiny/other"}, {"refiner": None}, {"dtype": "float16"}, {"steps": 4}):
        assert version_of(tiny.model_copy(update=change)) != version_of(tiny), change
    assert version_of(registry.get("sdxl")) != version_of(tiny)


def test_a_version_tells_all_inputs_and_that_the_output_is_a_list(
    client: TestClient, registry: Registry
) -> None:
    path = f"/replicate/v1/models/latentfarm/tiny/versions/{version_of(registry.get('tiny'))}"
    shown = client.get(path).json()
    schemas = shown["openapi_schema"]["components"]["schemas"]
    assert shown["cog_version"] == COG_VERSION
    assert schemas["Output"]["type"] == "array"
    assert "x-cog-array-type" not in schemas["Output"]
    inputs = schemas["Input"]["properties"]
    assert {"prompt", "num_outputs", "scheduler", "width", "loras", "image", "mask", "seed"} <= set(inputs)
    assert not {"num_images", "strength", "mask_image", "sampler", "webhook", "model"} & set(inputs)
    for missing in (
        path[:-1],
        "/replicate/v1/models/latentfarm/none",
        "/replicate/v1/models/x/tiny/versions",
    ):
        assert client.get(missing).status_code == 404
