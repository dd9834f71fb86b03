"""The OpenAPI document: bodies that are read by hand, and the problems that a route can answer."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api import examples
from api.huggingface.document import SCHEMAS as HUGGINGFACE_SCHEMAS
from api.openai.document import SCHEMAS as OPENAI_SCHEMAS
from api.openai.errors import speaks_openai
from api.problems import MEDIA_TYPE
from api.replicate.document import SCHEMAS as REPLICATE_SCHEMAS
from api.replicate.document import problems as replicate_problems
from api.replicate.errors import speaks_replicate
from latentfarm import __version__
from latentfarm.fleet_views import WorkerChoice
from latentfarm.hook_views import ReplayRequest, SecretRotation, WebhookChange, WebhookRequest
from latentfarm.key_views import KeyRequest, RotateRequest
from latentfarm.manifests.request import DatasetRequest
from latentfarm.refinement import RefineRequest
from latentfarm.spec import RenderSpec
from latentfarm.tenant_views import TenantSettings
from latentfarm.views import ProblemView, UploadRequest

_REFERENCE = "#/components/schemas/{model}"


def _body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


#: For `openapi_extra` of a route whose body is a spec, asks to refine, or tells of an upload, a dataset, a tenant or a key.
SPEC_BODY, REFINE_BODY = _body(RenderSpec), _body(RefineRequest)
UPLOAD_BODY, DATASET_BODY = _body(UploadRequest), _body(DatasetRequest)
TENANT_BODY = _body(TenantSettings)
WORKER_BODY = _body(WorkerChoice)
KEY_BODY, ROTATE_BODY = _body(KeyRequest), _body(RotateRequest)
HOOK_BODY, HOOK_CHANGE_BODY = _body(WebhookRequest), _body(WebhookChange)
HOOK_ROTATE_BODY, REPLAY_BODY = _body(SecretRotation), _body(ReplayRequest)

DESCRIPTION = """
A render farm for Stable Diffusion XL. `POST /v1/jobs` takes a spec and answers at once; the images are
made by workers and read from links. Problems are RFC 9457 documents that name the field and what is
allowed. The routes under `/v1/images`, `/v1/files` and `/v1/batches` are OpenAI's: those for images answer once these
are made, and the errors of all have OpenAI's shape. Those under `/replicate` and `/huggingface` are for the clients of
these two. Keys are sent as `Authorization: Bearer lf_...`; a route's `security` names the scope that it needs,
which `admin` holds too. On the API's own machine keys may be left out, unless its settings say otherwise.
"""


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route: these statuses, and 503, are problem documents."""
    schema = {"$ref": _REFERENCE.format(model="ProblemView")}
    return {
        int(status): {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*statuses, HTTPStatus.SERVICE_UNAVAILABLE)
    }


def install(app: FastAPI) -> None:
    """Gives the application its document, made when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title="Latentfarm", version=__version__, description=DESCRIPTION, routes=app.routes
            )
            _add_schemas(made)
            _correct_refusals(made)
            _add_refusals_of_keys(made)
            examples.add(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents


def _add_schemas(document: dict[str, Any]) -> None:
    known = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    bodies = (
        RenderSpec,
        RefineRequest,
        UploadRequest,
        DatasetRequest,
        TenantSettings,
        WorkerChoice,
        KeyRequest,
        RotateRequest,
        WebhookRequest,
        WebhookChange,
        SecretRotation,
        ReplayRequest,
    )
    for model in (*bodies, ProblemView, *OPENAI_SCHEMAS, *REPLICATE_SCHEMAS, *HUGGINGFACE_SCHEMAS):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        known.update(schema.pop("$defs", {}))
        known[model.__name__] = schema


def _correct_refusals(document: dict[str, Any]) -> None:
    """FastAPI describes a 422 of its own for every route with parameters; this API answers a problem."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    refusal, replicates = problems(status)[status], replicate_problems(status)[status]
    for path, item in document["paths"].items():
        for operation in item.values():
            if speaks_openai(path):
                operation["responses"].pop("422", None)
            elif _is_fastapis(operation["responses"].get("422", {})):
                operation["responses"]["422"] = replicates if speaks_replicate(path) else refusal


def _is_fastapis(answer: dict[str, Any]) -> bool:
    told = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return str(told.get("$ref", "")).endswith("/HTTPValidationError")


def _add_refusals_of_keys(document: dict[str, Any]) -> None:
    """401, 403 and 429, wherever a scope is needed."""
    refusals = problems(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
    for item in document["paths"].values():
        for operation in item.values():
            if operation.get("security"):
                operation["responses"] |= {
                    str(status): refusals[status]
                    for status in (401, 403, 429)
                    if str(status) not in operation["responses"]
                }
