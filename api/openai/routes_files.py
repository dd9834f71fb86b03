"""OpenAI's routes for files: sent by clients to make batches of, and what comes of batches."""

from __future__ import annotations

from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api import cursors
from api.access import needs
from api.datasets_shown import within
from api.deadline import PATIENCE
from api.deps import Tenant, Use  # noqa: TC001 - FastAPI needs the types at run time
from api.openai import batch_files
from api.openai.batching import READ_S
from api.openai.document import FILE_BODY, failures
from api.openai.file_views import FileDeleted, OpenAIFile, OpenAIFileList, view_of
from api.openai.forms import read_form
from api.openai.ids import cursor, no_file, parse_file
from api.openai.receiving import MAX_FORM, UPLOAD_S, receive
from latentfarm.api_keys import Scope
from latentfarm.errors import InvalidInput
from latentfarm.keys import file_key
from latentfarm.repository import files

if TYPE_CHECKING:
    from collections.abc import Iterator

router = APIRouter(prefix="/v1/files", tags=["OpenAI"])

PAGE = 100
OLDEST = UUID(int=0)
FileName = Annotated[str, Path(description="Id of a file.", max_length=128)]
_READ = needs(Scope.READ, any_bearer=True)
_WRITE = needs(Scope.SUBMIT, any_bearer=True)
_NOT_THERE = failures(HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes of the file.",
        "content": {"application/jsonl": {}},
    },
    **failures(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE),
}


@router.post(
    "",
    responses=failures(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    openapi_extra=FILE_BODY,
    dependencies=[_WRITE],
)
async def create(request: Request, use: Use, tenant: Tenant) -> OpenAIFile:
    """Takes a file of requests, to make a batch of. OpenAI's `files.create`."""
    async with read_form(request, MAX_FORM, UPLOAD_S) as form:
        return view_of(await run_in_threadpool(receive, use, form, tenant=tenant))


@router.get("", responses=failures(HTTPStatus.NOT_FOUND), dependencies=[_READ])
def listing(
    use: Use,
    tenant: Tenant,
    after: Annotated[
        str | None, Query(description="Id of the last file of the page before.", max_length=128)
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=10_000, description="Files on one page; never more than 100.")
    ] = PAGE,
    order: Annotated[str, Query(description="By time: `desc` or `asc`.", pattern="^(desc|asc)$")] = "desc",
    purpose: Annotated[str | None, Query(description="Files of this purpose alone.", max_length=64)] = None,
) -> OpenAIFileList:
    """Lists the files that were sent, newest first. OpenAI's `files.list`."""
    if purpose not in (None, "batch"):
        raise InvalidInput("purpose", "there are no such files here", "batch")
    newest, most = order == "desc", min(limit, PAGE)
    place = cursor(after, lambda text: parse_file(text).id, cursors.NEWEST if newest else OLDEST)
    found = use.repository.transact(
        lambda c: files.listing(c, tenant=tenant, after=place, newest=newest, limit=most + 1)
    )
    shown = within(map(view_of, found[:most]))
    ends = {"first_id": shown[0].id, "last_id": shown[-1].id} if shown else {}
    return OpenAIFileList(data=shown, has_more=len(found) > len(shown), **ends)


@router.get("/{file_id}", responses=_NOT_THERE, dependencies=[_READ])
def show(file_id: FileName, request: Request, use: Use, tenant: Tenant) -> OpenAIFile:
    """Shows a file. OpenAI's `files.retrieve`."""
    named = parse_file(file_id)
    if named.kind:
        _be_patient(request)
        return batch_files.view(use, named, tenant=tenant)
    found = use.repository.transact(lambda c: files.find(c, named.id, tenant=tenant))
    if found is None:
        raise no_file(named)
    return view_of(found)


@router.get("/{file_id}/content", responses=_CONTENT, response_class=Response, dependencies=[_READ])
def content(file_id: FileName, request: Request, use: Use, tenant: Tenant) -> Response:
    """The bytes of a file, streamed. OpenAI's `files.content`.

    The images of a batch are read from its shards, one after the other, while the answer is under way.
    """
    named = parse_file(file_id)
    if named.kind:
        _be_patient(request)
        return _streamed(batch_files.content(use, named, tenant=tenant))
    found = use.repository.transact(lambda c: files.find(c, named.id, tenant=tenant))
    if found is None:
        raise no_file(named)
    return _streamed(use.store.stream(file_key(found.id)))


@router.delete("/{file_id}", responses=_NOT_THERE, dependencies=[_WRITE])
def delete(file_id: FileName, use: Use, tenant: Tenant) -> FileDeleted:
    """Deletes a file. Of a batch, the images go with its output file; its record stays. OpenAI's `files.delete`."""
    named = parse_file(file_id)
    if named.kind:
        batch_files.drop(use, named, tenant=tenant)
    elif not use.repository.transact(lambda c: files.drop(c, named.id, tenant=tenant)):
        raise no_file(named)
    return FileDeleted(id=str(named))


def _be_patient(request: Request) -> None:
    """The directories of 500 shards are read before the size of a file is known, and 50,000 lines may be before the first."""
    if PATIENCE in request.scope:
        request.scope[PATIENCE].seconds += READ_S


def _streamed(pieces: Iterator[bytes]) -> StreamingResponse:
    # The first piece needs the services: if they are away it must be 503 and not a 200 that breaks off.
    first = next(pieces, b"")
    return StreamingResponse(
        chain([first], pieces), media_type="application/jsonl", headers={"Cache-Control": "no-store"}
    )
