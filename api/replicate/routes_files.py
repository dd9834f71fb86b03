"""Replicate's files: what its client uploads when an input is an open file."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool

from api.deps import Tenant, Use
from api.openai.forms import read_form
from api.replicate.document import FILE_BODY, problems
from api.replicate.files import ReplicateFile, ReplicateFiles, content_of, file_view, id_of, place_of
from api.replicate.routes_predictions import READER, SUBMITTER
from latentfarm.errors import NotFound
from latentfarm.predictions import PREFIX
from latentfarm.repository import kept_uploads

router = APIRouter(prefix=f"{PREFIX}/files", tags=["Replicate"])

MOST_LISTED = 100
FileId = Annotated[str, Path(description="Id of a file.")]
_REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@router.post(
    "", status_code=201, responses=problems(*_REFUSED), openapi_extra=FILE_BODY, dependencies=[SUBMITTER]
)
async def create(request: Request, use: Use, tenant: Tenant) -> ReplicateFile:
    """Takes a picture that predictions may start from. Replicate's `files.create`."""
    async with read_form(request) as form:
        data = content_of(form)
        kept = await run_in_threadpool(use.uploads.take, data, tenant=tenant, field="content")
    return file_view(kept, place_of(request))


@router.get("", responses=problems(), dependencies=[READER])
def listing(request: Request, use: Use, tenant: Tenant) -> ReplicateFiles:
    """Lists files that have not expired, newest first. Replicate's `files.list`."""
    found = use.repository.transact(lambda c: kept_uploads.newest(c, tenant=tenant, limit=MOST_LISTED))
    return ReplicateFiles(results=[file_view(kept, place_of(request)) for kept in found])


@router.get("/{upload_id}", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[READER])
def show(upload_id: FileId, request: Request, use: Use, tenant: Tenant) -> ReplicateFile:
    """Shows a file. Replicate's `files.get`."""
    found = id_of(upload_id)
    kept = use.repository.transact(lambda c: kept_uploads.find(c, found, tenant=tenant))
    if kept is None:
        raise NotFound(f"no file {upload_id}")
    return file_view(kept, place_of(request))


@router.delete(
    "/{upload_id}", status_code=204, responses=problems(HTTPStatus.NOT_FOUND), dependencies=[SUBMITTER]
)
def delete(upload_id: FileId, use: Use, tenant: Tenant) -> None:
    """Takes a file back: no prediction can name it any more. Replicate's `files.delete`."""
    found = id_of(upload_id)
    if not use.repository.transact(lambda c: kept_uploads.end(c, found, tenant=tenant)):
        raise NotFound(f"no file {upload_id}")
