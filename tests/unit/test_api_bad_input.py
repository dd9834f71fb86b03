"""What the API refuses. The services are unreachable here, so nothing can have been stored before."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.app import create_app
from api.limits import MAX_BODY
from latentfarm.settings import Settings
from latentfarm.spec import RenderSpec

JOB = "01890000-0000-7000-8000-000000000000"
NOWHERE = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint_url="http://127.0.0.1:1",
)
FUZZED = TestClient(create_app(NOWHERE), base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return FUZZED


def deep(levels: int) -> str:
    return '{"prompt":"a","metadata":' + "[" * levels + "]" * levels + "}"


def spec(**fields: object) -> str:
    return json.dumps({"prompt": "a red circle", **fields})


# (body, status, field, a word of what is allowed or of the message)
BAD_SPECS = [
    (spec(promt="x"), 422, "promt", "did you mean prompt?"),
    (spec(nonsense_field=1), 422, "nonsense_field", "num_images"),
    ("{}", 422, "prompt", "text"),
    ("[]", 422, "body", "an object"),
    ("7", 422, "body", "an object"),
    (spec(prompt=None), 422, "prompt", "text"),
    (spec(prompt=5), 422, "prompt", "text"),
    (spec(prompt="x" * 8193), 422, "prompt", "8192"),
    (spec(negative_prompt_2="x" * 8193), 422, "negative_prompt_2", "8192"),
    (spec(width=129), 422, "width", "multiple of 8"),
    (spec(height=0), 422, "height", "8 to"),
    (spec(width=56), 422, "width", "64 to 256"),
    (spec(height=264), 422, "height", "64 to 256"),
    (spec(width=-8), 422, "width", "8 to"),
    (spec(width=10**30), 422, "width", "8 to"),
    (spec(width="128"), 422, "width", "8 to"),
    (spec(num_inference_steps=0), 422, "num_inference_steps", "1 to 200"),
    (spec(num_inference_steps=201), 422, "num_inference_steps", "1 to 200"),
    (spec(num_inference_steps=2.5), 422, "num_inference_steps", "1 to 200"),
    (spec(num_inference_steps=True), 422, "num_inference_steps", "1 to 200"),
    (spec(num_inference_steps=None), 422, "num_inference_steps", "1 to 200"),
    (spec(refiner={"high_noise_frac": 0}), 422, "refiner.high_noise_frac", "over 0 and under 1"),
    (spec(refiner={"high_noise_frac": 1}), 422, "refiner.high_noise_frac", "over 0 and under 1"),
    (
        spec(refiner={"high_noise_frac": 0.999}, num_inference_steps=2),
        422,
        "refiner.high_noise_frac",
        "no step",
    ),
    (
        spec(refiner={"high_noise_frac": 0.001}, num_inference_steps=2),
        422,
        "refiner.high_noise_frac",
        "no step",
    ),
    (spec(refiner={"mode": "both"}), 422, "refiner.mode", "ensemble, image, only"),
    (spec(refiner={"frac": 0.5}), 422, "refiner.frac", "unknown field"),
    (spec(refiner=True), 422, "refiner", "an object"),
    (spec(model="dall-e"), 422, "model", "tiny"),
    (spec(model=""), 422, "model", ""),
    (spec(sampler="eular"), 422, "sampler", "euler"),
    (spec(sigma_schedule="linear"), 422, "sigma_schedule", "karras"),
    (spec(sampler="ddim", sigma_schedule="karras"), 422, "sigma_schedule", "default"),
    (spec(timestep_spacing="wide"), 422, "timestep_spacing", "leading"),
    (spec(strength=0.5), 422, "strength", "with image"),
    (spec(strength=1.5), 422, "strength", "0 to 1"),
    (spec(padding_mask_crop=-1), 422, "padding_mask_crop", "0 to 16384"),
    (spec(loras=[{"name": "x"}]), 422, "loras.0.name", "none"),
    (spec(loras=[{"name": "x", "weight": 4.5}]), 422, "loras.0.weight", "4"),
    (spec(loras=[{"weight": 1}, "x"]), 422, "loras.0.name", ""),
    (spec(embeddings=["x"]), 422, "embeddings.0", "none"),
    (spec(num_images=0), 422, "num_images", "1 to"),
    (spec(num_images=1001), 422, "num_images", "1 to 1000"),
    (spec(num_images=10**7), 422, "num_images", "1 to"),
    (spec(seed=-1), 422, "seed", "at least 0"),
    (spec(seed=2**53), 422, "seed", "under 9007199254740992"),
    (spec(seed="7"), 422, "seed", "at least 0"),
    (spec(guidance_scale=-1), 422, "guidance_scale", "0 to 100"),
    (spec(guidance_scale=101), 422, "guidance_scale", "0 to 100"),
    (spec(eta=2), 422, "eta", "0 to 1"),
    (spec(timesteps=[1, 2, 1000]), 422, "timesteps.2", "under 1000"),
    (spec(timesteps=[]), 422, "timesteps", "at least 1"),
    (spec(timesteps=[5, 7]), 422, "timesteps", "below the one before"),
    (spec(original_size=[64]), 422, "original_size.1", "0 to 16384"),
    (spec(original_size=[64, 64, 64]), 422, "original_size", "a list of 2"),
    (spec(output={"format": "bmp"}), 422, "output.format", "png, webp, jpeg"),
    (spec(output={"format": "webp", "quality": 0}), 422, "output.quality", "1 to 100"),
    (spec(output=None), 422, "output", "an object"),
    (spec(reproducible="yes"), 422, "reproducible", "true or false"),
    (spec(lane="fast"), 422, "lane", "interactive, bulk"),
    (spec(priority=11), 422, "priority", "-10 to 10"),
    (spec(keep_latents=604_801), 422, "keep_latents", "0 to 604800"),
    (spec(metadata={"a": 1}), 422, "metadata.a", "text"),
    (spec(metadata=["a"]), 422, "metadata", "an object"),
    (spec(metadata={str(i): "v" for i in range(17)}), 422, "metadata", "16"),
    (spec(metadata={"a": "v" * 513}), 422, "metadata.a", "512"),
    (spec(metadata={"k" * 65: "v"}), 422, "metadata", ""),
    (spec(prompt="nul \x00 in it"), 422, "prompt", "U+0000"),
    (spec(metadata={"a\x00": "v"}), 422, "metadata", "U+0000"),
    (r'{"prompt": "half \ud83d of a pair"}', 422, "prompt", "Unicode"),
    ('{"prompt": "a", "guidance_scale": NaN}', 400, "body", "finite"),
    ('{"prompt": "a", "guidance_scale": -Infinity}', 400, "body", "finite"),
    ('{"prompt": "a", "guidance_scale": 1e999}', 400, "body", "finite"),
    ('{"prompt": "a", "seed": 1' + "0" * 5000 + "}", 400, "body", "JSON"),
    ('{"prompt": "a", "prompt": "b"}', 400, "prompt", "each key once"),
    (deep(40), 400, "body", "32 levels"),
    (deep(100_000), 400, "body", "32 levels"),
    ("", 400, "body", "JSON"),
    ("{", 400, "body", "JSON"),
    ('{"prompt": "a"} {}', 400, "body", "JSON"),
    ("{'prompt': 'a'}", 400, "body", "JSON"),
    ("\ufeff{}", 400, "body", "JSON"),
]


def post(client: TestClient, body: str | bytes, **headers: str) -> tuple[int, dict[str, object]]:
    content = body if isinstance(body, bytes) else body.encode()
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json", **headers})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["instance"] == "/v1/jobs"
    assert len(answer.content) < 65_536
    return answer.status_code, problem


@pytest.mark.parametrize(("body", "status", "field", "word"), BAD_SPECS, ids=lambda value: str(value)[:40])
def test_a_bad_spec_is_refused_with_field_and_limit(
    client: TestClient, body: str, status: int, field: str, word: str
) -> None:
    got, problem = post(client, body)
    assert got == status
    errors = problem["errors"]
    assert isinstance(errors, list)
    named = [entry for entry in errors if entry["field"].startswith(field)]
    assert named, errors
    assert word in f"{named[0]['message']} {named[0]['allowed']}"
    assert str(problem["detail"]).startswith(errors[0]["field"])


def test_what_is_not_built_is_refused_and_not_ignored(client: TestClient) -> None:
    status, problem = post(client, spec(output={"quality": 80}))
    assert status == 422
    assert problem["type"] == "urn:latentfarm:problem:not_supported"
    told = problem["errors"][0]  # type: ignore[index]
    assert (told["field"], told["code"]) == ("output.quality", "not_supported")


def test_every_complaint_is_in_one_answer(client: TestClient) -> None:
    _, problem = post(client, spec(width=9, num_inference_steps=0, lane="x"))
    assert [entry["field"] for entry in problem["errors"]] == ["width", "num_inference_steps", "lane"]  # type: ignore[attr-defined]


def test_a_thousand_complaints_are_cut_to_a_short_answer(client: TestClient) -> None:
    _, problem = post(client, spec(timesteps=["x"] * 100_000))
    assert len(problem["errors"]) == 20  # type: ignore[arg-type]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["euler", "tiny", "png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*RenderSpec.model_fields, "unknown"]), VALUES, max_size=5))
def test_no_json_makes_the_api_fail(fields: dict[str, object]) -> None:
    answer = FUZZED.post(
        "/v1/jobs",
        content=json.dumps({"prompt": "a", **fields}),
        headers={"Content-Type": "application/json"},
    )
    # 503: the spec was good, and the database is not there.
    assert answer.status_code in (400, 422, 503)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_refused(client: TestClient, kind: str) -> None:
    status, problem = post(client, spec(), **{"Content-Type": kind})
    assert status == 415
    assert problem["errors"] == [
        {
            "field": "Content-Type",
            "code": "invalid",
            "message": repr(kind),
            "allowed": "application/json",
            "line": None,
        }
    ]


def test_bytes_that_are_no_utf8_are_refused(client: TestClient) -> None:
    assert post(client, b'{"prompt": "\xff"}')[0] == 400


def test_a_body_over_a_mebibyte_is_refused(client: TestClient) -> None:
    body = spec(metadata={"a": "x" * MAX_BODY})
    status, problem = post(client, body)
    assert (status, problem["type"]) == (413, "urn:latentfarm:problem:request_entity_too_large")
    assert str(MAX_BODY) in str(problem["detail"])


def test_a_body_that_does_not_tell_its_size_is_counted(client: TestClient) -> None:
    def pieces() -> object:
        for _ in range(20):
            yield b" " * 100_000

    answer = client.post("/v1/jobs", content=pieces(), headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    assert answer.status_code == 413


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
def test_an_unusable_idempotency_key_is_refused(client: TestClient, key: str) -> None:
    answer = client.post(
        "/v1/jobs",
        content=spec(),
        headers=[(b"Content-Type", b"application/json"), (b"Idempotency-Key", key.encode("latin-1"))],
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/nope",
        "/v1/jobs/00000000",
        "/v1/jobs/%00",
        "/v1/jobs/nope/events",
        "/v1/jobs/nope/images/0",
        f"/v1/jobs/{JOB}/images/-1",
        f"/v1/jobs/{JOB}/images/one",
        f"/v1/jobs/{JOB}/images/99999999999999999999",
        "/v1/models/unknown",
        "/v1/nothing",
        "/v1/jobs/",
    ],
)
def test_what_cannot_exist_is_not_found(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=101", "limit"),
        ("/v1/jobs?limit=ten", "limit"),
        ("/v1/jobs?after=nonsense", "after"),
        ("/v1/jobs?after=", "after"),
        (f"/v1/jobs/{JOB}?images_from=-1", "images_from"),
        (f"/v1/jobs/{JOB}?images_limit=65", "images_limit"),
        (f"/v1/jobs/{JOB}/images/0?proxy=maybe", "proxy"),
    ],
)
def test_a_bad_parameter_is_named(client: TestClient, path: str, field: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_an_unknown_method_says_which_are_allowed(client: TestClient) -> None:
    answer = client.delete("/v1/jobs")
    assert answer.status_code == 405 and answer.headers["allow"]  # noqa: PT018 - one sentence
    assert answer.headers["content-type"] == "application/problem+json"
