"""The OpenAPI document, and the sizes and shapes of answers."""

from __future__ import annotations

import dataclasses
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from starlette.datastructures import URL

from api import schemas
from api.app import create_app
from api.openai.errors import speaks_openai
from api.routes_jobs import IMAGES_PAGE
from latentfarm.evidence import Mishap
from latentfarm.records import Image, Job, ObjectRef
from latentfarm.samplers import SAMPLERS, SIGMA_SCHEDULES, SPACINGS
from latentfarm.settings import Settings
from latentfarm.spec import SEED_RANGE, RenderSpec
from latentfarm.states import JobState, Lane, RenderState, Stage
from latentfarm.story import tell
from tests.unit.openai_document import BATCH_MODELS, BATCH_ROUTES
from tests.unit.test_api_webhooks import WEBHOOK_ROUTES, WEBHOOK_VIEWS
from tests.unit.test_doors_document import DOORS

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = URL("http://farm.example.com:8400/")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def test_the_routes_are_those_that_were_promised(document: dict[str, Any]) -> None:
    promised = {name for name, _ in operations(document) if " /v1/" in name or name.count("/") == 1}
    assert promised - WEBHOOK_ROUTES == {
        "post /v1/jobs",
        "get /v1/jobs",
        "get /v1/jobs/{job_id}",
        "delete /v1/jobs/{job_id}",
        "post /v1/jobs/{job_id}/cancel",
        "post /v1/jobs/{job_id}/pause",
        "post /v1/jobs/{job_id}/resume",
        "post /v1/jobs/{job_id}/refine",
        "post /v1/jobs/{job_id}/retry",
        "get /v1/jobs/{job_id}/events",
        "get /v1/jobs/{job_id}/images/{index}",
        "get /v1/jobs/{job_id}/images/{index}/attempts",
        "post /v1/datasets",
        "get /v1/datasets",
        "get /v1/datasets/{name}",
        "post /v1/datasets/{name}/cancel",
        "delete /v1/datasets/{name}",
        "post /v1/datasets/{name}/pause",
        "post /v1/datasets/{name}/resume",
        "post /v1/datasets/{name}/retry-failed",
        "get /v1/datasets/{name}/failures",
        "get /v1/datasets/{name}/files",
        "get /v1/plans/{plan_id}",
        "post /v1/uploads",
        "get /v1/models",
        "get /v1/models/{model}",
        "get /v1/workers",
        "post /v1/workers/drain",
        "post /v1/workers/resume",
        "get /v1/queues",
        "post /v1/queues/{name}/drain",
        "post /v1/queues/{name}/resume",
        "post /v1/images/generations",
        "post /v1/images/edits",
        *BATCH_ROUTES,
        "get /v1/tenants",
        "get /v1/tenants/{name}",
        "patch /v1/tenants/{name}",
        "post /v1/keys",
        "get /v1/keys",
        "delete /v1/keys/{prefix}",
        "post /v1/keys/{prefix}/rotate",
        "get /healthz",
        "get /readyz",
        "get /metrics",
    }
    assert {name for name, _ in operations(document)} > WEBHOOK_ROUTES


def test_every_operation_parameter_and_field_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (name, parameter["name"])
    for model in (
        "UploadRequest",
        "UploadView",
        "RefineRequest",
        "RefinedFrom",
        "AttemptView",
        "AttemptList",
        "DatasetRequest",
        "ManifestSource",
        "DatasetPlan",
        "DatasetView",
        "DatasetCounts",
        "DatasetList",
        "FailureList",
        "FileList",
        "ShardView",
        "Retried",
        "WorkerChoice",
        "WorkerList",
        "WorkerView",
        "QueueList",
        "QueueView",
        "GenerationRequest",
        "EditRequest",
        "ImagesView",
        "PictureView",
        *BATCH_MODELS,
        "ErrorView",
        "ErrorDetail",
        "TenantSettings",
        "TenantView",
        "TenantList",
        "QueuePlace",
        "JobEstimate",
        "EstimateBasis",
        "JobQuote",
        "KeyRequest",
        "RotateRequest",
        "KeyView",
        "KeyCreated",
        "KeyList",
        *WEBHOOK_VIEWS,
    ):
        for field, schema in document["components"]["schemas"][model]["properties"].items():
            told = "const" in schema or set(schema) == {"$ref"}  # what it refers to is described there
            assert schema.get("description") or told, (model, field)


@pytest.mark.parametrize("model", ["RenderSpec", "RefinerSpec", "OutputSpec", "LoraUse"])
def test_every_field_of_a_spec_is_told_in_full(document: dict[str, Any], model: str) -> None:
    """One sentence, a default unless it is required, and the range of whatever has one."""
    schemas = document["components"]["schemas"]
    for field, schema in schemas[model]["properties"].items():
        sentence = schema.get("description", "")
        assert re.fullmatch(r"[A-Z`][^\n]*[^.]\.", sentence), field
        assert ". " not in sentence, f"{field}: more than one sentence"
        assert ("default" in schema) != (field in schemas[model].get("required", [])), field
        assert_bounded(schema, schemas, field)


def assert_bounded(schema: dict[str, Any], schemas: dict[str, Any], field: str) -> None:
    if "$ref" in schema:
        target = schemas[schema["$ref"].rsplit("/", 1)[1]]
        assert "properties" in target or "enum" in target, field
        return
    for branch in schema.get("anyOf", []):
        assert_bounded(branch, schemas, field)
    within = [schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", ())]
    for part in (part for part in within if isinstance(part, dict)):
        assert_bounded(part, schemas, field)
    limits = {
        "integer": ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}),
        "number": ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}),
        "string": ({"maxLength", "enum", "const"},),
        "array": ({"maxItems"},),
        "object": ({"maxProperties"},),
    }
    for either in limits.get(schema.get("type", ""), ()):
        assert either & schema.keys(), f"{field} has none of {either}"


def test_names_of_samplers_and_schedules_are_listed(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["RenderSpec"]["properties"]
    for field, names in (
        ("sampler", SAMPLERS),
        ("sigma_schedule", SIGMA_SCHEDULES),
        ("timestep_spacing", SPACINGS),
    ):
        assert fields[field]["anyOf"][0]["enum"] == list(names)


def shape_of(name: str) -> tuple[str, str]:
    """How a route tells of failures; those in another API's language tell in that one."""
    for path, shape in DOORS.items():
        if path in name:
            return shape
    return ("json", "ErrorView") if speaks_openai(name.split()[1]) else ("problem+json", "ProblemView")


def test_every_failure_is_a_problem_document(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and name != "get /readyz":
                kind, model = shape_of(name)
                assert list(answer["content"]) == [f"application/{kind}"], (name, status)
                schema = answer["content"][f"application/{kind}"]["schema"]
                assert schema["$ref"].endswith(f"/{model}"), (name, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


def job(prompt: str, images: int) -> Job:
    spec = RenderSpec(prompt=prompt, seed=SEED_RANGE - 2, num_images=images, width=64, height=64)
    return Job(
        id=uuid.uuid4(),
        kind="single",
        tenant="",
        state=JobState.FAILED,
        lane=Lane.INTERACTIVE,
        priority=0,
        seed=SEED_RANGE - 2,
        num_images=images,
        remaining=0,
        failed=1,
        keep_latents=5,
        spec=spec.picture(),
        metadata={},
        created_at=datetime.now(UTC),
        started_at=datetime.now(UTC),
        finished_at=datetime.now(UTC),
    )


def test_a_full_page_of_finished_images_stays_small() -> None:
    warning = "negative_prompt_2 was cut: 2048 tokens where the encoder reads 77"
    notes = {"warnings": [warning] * 4}
    images = [
        Image(i, 2**52 + i, RenderState.SUCCEEDED, Stage.REFINE, ObjectRef("k", b"x" * 32, 10**9), notes)
        for i in range(IMAGES_PAGE)
    ]
    shown = schemas.in_full(job("p" * 8192, 10_000), BASE, {}, images, IMAGES_PAGE)
    assert len(shown.model_dump_json().encode()) < 65_536


def test_a_full_page_of_failed_images_stays_small() -> None:
    mishaps = [Mishap(10**9 + i, "cuda:15", "non_finite", "x" * 2000) for i in range(8)]
    images = [
        Image(i, 2**52 + i, RenderState.FAILED, Stage.REFINE, None, {}, error=tell(mishaps))
        for i in range(IMAGES_PAGE)
    ]
    shown = schemas.in_full(job("p" * 8192, 10_000), BASE, {}, images, IMAGES_PAGE)
    assert len(shown.model_dump_json().encode()) < 65_536


def test_an_accepted_job_shows_nothing_that_can_change() -> None:
    record = job("a", 3)
    shown = schemas.as_accepted(record, BASE, 2)
    assert (shown.state, shown.remaining, shown.failed, shown.finished_at) == ("queued", 3, 0, None)
    assert [image.seed for image in shown.images] == [SEED_RANGE - 2, SEED_RANGE - 1]
    assert shown.images_next == 2
    assert shown.counts["queued"] == 3


def test_the_spec_is_whole_and_in_the_order_of_its_fields() -> None:
    shown = schemas.in_full(job("a", 3), BASE, {}, [], None).spec
    assert RenderSpec.model_validate(shown).seed == SEED_RANGE - 2
    assert list(shown) == [name for name in RenderSpec.model_fields if name in shown]
    assert set(RenderSpec.model_fields) - set(shown) == {"webhook", "prompt_weighting"}
    asked = RenderSpec(prompt="a", prompt_weighting="compel").picture()
    weighted = schemas.in_full(dataclasses.replace(job("a", 3), spec=asked), BASE, {}, [], None).spec
    assert list(weighted).index("prompt_weighting") < list(weighted).index("width")
