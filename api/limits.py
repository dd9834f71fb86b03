"""How a body is read: with a bound, of one content type, and as strict JSON."""

import json
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.problems import ProblemError, refused
from latentfarm import strict_json
from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.fleet_views import WorkerChoice
from latentfarm.key_views import KeyRequest, RotateRequest
from latentfarm.manifests.request import DatasetRequest
from latentfarm.refinement import RefineRequest
from latentfarm.spec import RenderSpec
from latentfarm.tenant_views import TenantSettings
from latentfarm.views import UploadRequest

MAX_BODY = 1_048_576
"""Bytes of one request body."""

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request) -> bytes:
    """The body of a JSON request.

    Raises:
        ProblemError: 415 for another content type or an encoded body, 413 over `MAX_BODY` (at once when the header says so).
    """
    check_kind(request)
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced[:20]) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise _too_large()
    return bytes(body)


def check_kind(request: Request) -> None:
    """Whether a body says that it is plain JSON.

    Raises:
        ProblemError: 415 for another content type or an encoded body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type", f"{kind[:100]!r}", "application/json"
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        # What is unpacked has no size that anybody has told.
        raise _refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding",
            f"{encoding[:100]!r}",
            "no encoding of the body",
        )


async def read_spec(request: Request) -> RenderSpec:
    """The spec in the body, valid on its own; what fits its model is asked later.

    Raises:
        ProblemError: 400, 413, 415 or 422, naming each field that is wrong.
        InvalidInput: the JSON cannot be taken.
    """
    return await _read(request, RenderSpec)


async def read_refinement(request: Request) -> RefineRequest:
    """What is asked of a job that has run; refused as specs are."""
    return await _read(request, RefineRequest)


async def read_upload(request: Request) -> UploadRequest:
    """What is said about a file that is to be uploaded; refused as specs are."""
    return await _read(request, UploadRequest)


async def read_dataset(request: Request) -> DatasetRequest:
    """What is said of a dataset; refused as specs are. Its rows are looked at later."""
    return await _read(request, DatasetRequest)


async def read_tenant(request: Request) -> TenantSettings:
    """What a tenant may have from now on; refused as specs are."""
    return await _read(request, TenantSettings)


async def read_worker(request: Request) -> WorkerChoice:
    """Which devices are meant; refused as specs are."""
    return await _read(request, WorkerChoice)


async def read_key(request: Request) -> KeyRequest:
    """What is said of a key that is wanted; refused as specs are."""
    return await _read(request, KeyRequest)


async def read_rotation(request: Request) -> RotateRequest:
    """How a key is to be replaced; refused as specs are."""
    return await _read(request, RotateRequest)


async def _read(request: Request, model: type[M]) -> M:
    return checked(strict_json.loads(await read_json(request)), model)


def checked(document: Any, model: type[M]) -> M:
    """A document that `strict_json` has read, as what it is to be.

    Raises:
        ProblemError: 422, naming each field that is wrong.
    """
    try:
        # Strict, so that `true` is no number and "50" is no count; from JSON, so that a list is a tuple.
        return model.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        raise refused(explain(error, model)) from error


SpecBody = Annotated[RenderSpec, Depends(read_spec)]
RefineBody = Annotated[RefineRequest, Depends(read_refinement)]
DatasetBody = Annotated[DatasetRequest, Depends(read_dataset)]
TenantBody = Annotated[TenantSettings, Depends(read_tenant)]
UploadBody = Annotated[UploadRequest, Depends(read_upload)]
WorkerBody = Annotated[WorkerChoice, Depends(read_worker)]
KeyBody = Annotated[KeyRequest, Depends(read_key)]
RotateBody = Annotated[RotateRequest, Depends(read_rotation)]


def _too_large() -> ProblemError:
    return _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body", "too large", f"at most {MAX_BODY} bytes")


def _refused(status: HTTPStatus, field: str, message: str, allowed: str) -> ProblemError:
    code = status.phrase.lower().replace(" ", "_")
    complaint = InvalidInput(field, message, allowed)
    return ProblemError(status, code, str(complaint), errors=(complaint,))
