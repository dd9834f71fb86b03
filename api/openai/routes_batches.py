"""OpenAI's routes for batches: each is one dataset underneath."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api import cursors
from api.access import needs
from api.datasets_shown import within
from api.deadline import PATIENCE
from api.deps import IdempotencyKey, Services, Tenant, Use  # noqa: TC001 - FastAPI needs the types at run time
from api.limits import checked, read_json
from api.openai.batch_request import BatchRequest
from api.openai.batch_views import BatchList, BatchView, view_of
from api.openai.batching import READ_S, Asker, create
from api.openai.document import BATCH_BODY, failures
from api.openai.ids import batch_text, cursor, no_batch, parse_batch
from api.openai.standing import counted, look
from latentfarm import strict_json
from latentfarm.api_keys import Scope
from latentfarm.errors import NotFound
from latentfarm.repository import batches, sets

if TYPE_CHECKING:
    from uuid import UUID

router = APIRouter(prefix="/v1/batches", tags=["OpenAI"])

PAGE = 20
BatchName = Annotated[str, Path(description="Id of a batch.", max_length=128)]
_AGAIN = "x-stainless-retry-count"
"""Of OpenAI's clients: how often they have sent this very request before."""
_NOT_THERE = failures(HTTPStatus.NOT_FOUND)


async def read_batch(request: Request) -> BatchRequest:
    """What is said of a batch; refused as specs are. Its file is looked at later."""
    return checked(strict_json.loads(await read_json(request)), BatchRequest)


@router.post(
    "",
    responses=failures(
        HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.TOO_MANY_REQUESTS
    ),
    openapi_extra=BATCH_BODY,
    dependencies=[needs(Scope.SUBMIT, any_bearer=True)],
)
async def make(
    request: Request,
    response: Response,
    use: Use,
    tenant: Tenant,
    key: IdempotencyKey,
    body: Annotated[BatchRequest, Depends(read_batch)],
) -> BatchView:
    """Makes a batch of a file of requests. OpenAI's `batches.create`.

    With an `Idempotency-Key`, and without one when OpenAI's clients repeat a request by themselves, the same request again
    gives the batch of the first time.
    """
    if PATIENCE in request.scope:
        request.scope[PATIENCE].seconds += READ_S
    who = Asker(tenant, key, again=request.headers.get(_AGAIN, "0") != "0")

    def work() -> BatchView:
        batch_id, known = create(use, body, who)
        if known:
            response.headers["Idempotency-Replayed"] = "true"
        return _show(use, tenant, batch_id)

    return await run_in_threadpool(work)


@router.get("", responses=failures(HTTPStatus.NOT_FOUND), dependencies=[needs(Scope.READ, any_bearer=True)])
def listing(
    use: Use,
    tenant: Tenant,
    after: Annotated[
        str | None, Query(description="Id of the last batch of the page before.", max_length=128)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Batches on one page, at most.")] = PAGE,
) -> BatchList:
    """Lists batches, newest first. OpenAI's `batches.list`."""
    before = cursor(after, parse_batch, cursors.NEWEST)
    found = use.repository.transact(
        lambda c: [
            look(c, one, tenant=tenant)
            for one in batches.listing(c, tenant=tenant, before=before, limit=limit + 1)
        ]
    )
    shown = within(view_of(counted(use, one, tenant=tenant)) for one in found[:limit])
    ends = {"first_id": shown[0].id, "last_id": shown[-1].id} if shown else {}
    return BatchList(data=shown, has_more=len(found) > len(shown), **ends)


@router.get("/{batch_id}", responses=_NOT_THERE, dependencies=[needs(Scope.READ, any_bearer=True)])
def show(batch_id: BatchName, use: Use, tenant: Tenant) -> BatchView:
    """Shows a batch. OpenAI's `batches.retrieve`."""
    return _show(use, tenant, parse_batch(batch_id))


@router.post("/{batch_id}/cancel", responses=_NOT_THERE, dependencies=[needs(Scope.CANCEL, any_bearer=True)])
def cancel(batch_id: BatchName, use: Use, tenant: Tenant) -> BatchView:
    """Takes a batch back; what is packed stays, and so does one that has ended. OpenAI's `batches.cancel`."""
    named = parse_batch(batch_id)
    if use.repository.transact(lambda c: batches.mark_cancelled(c, named, tenant=tenant)):
        told = {"line": None, "field": "batch", "message": "cancelled before its requests were checked"}
        use.repository.transact(lambda c: sets.reject(c, named, told))
        with contextlib.suppress(NotFound):  # while its rows are checked it has no job
            use.farm.cancel(named, tenant=tenant)
    return _show(use, tenant, named)


def _show(use: Services, tenant: str, batch_id: UUID) -> BatchView:
    batch = use.repository.transact(lambda c: batches.get(c, batch_id, tenant=tenant))
    if batch is None:
        raise no_batch(batch_text(batch_id))
    found = use.repository.transact(lambda c: look(c, batch, tenant=tenant))
    return view_of(counted(use, found, tenant=tenant))
