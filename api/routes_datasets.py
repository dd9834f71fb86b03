"""Datasets: ask for, list, show, pause, cancel, delete, and what failed. Their files have a module of their own."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from api import cursors, datasets_shown
from api.access import needs
from api.deps import Services, Tenant, Use, Who
from api.limits import DatasetBody
from api.openapi import DATASET_BODY, problems
from api.routes_plans import planned
from api.routes_plans import show as show_plan
from api.tenancy import check_manifest
from latentfarm.api_keys import Scope
from latentfarm.dataset_plans import plan_later, plan_now
from latentfarm.dataset_progress import look
from latentfarm.dataset_terms import is_inline
from latentfarm.dataset_views import (
    DatasetList,
    DatasetPlan,
    DatasetPlanning,
    DatasetSummary,
    DatasetView,
    FailureList,
    Retried,
)
from latentfarm.datasets import require
from latentfarm.errors import Conflict, NotFound
from latentfarm.manifests.request import NAME, DatasetRequest
from latentfarm.repository import deleting, retrying, sets

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

Name = Annotated[str, Path(description="Name of a dataset.", max_length=255)]
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"description": "With `dry_run`: what it would be. Nothing was stored.", "model": DatasetPlan},
    201: {"description": "Checked: its images come in from now on, or are there already."},
    202: {
        "description": "Its manifest is read by and by; `state` and `error` tell, with `dry_run` of the dry run.",
        "model": DatasetView | DatasetPlanning,
    },
    **problems(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
}
_CHANGED = problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
_SHOWN = problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)


@router.post(
    "",
    status_code=201,
    response_model=DatasetView,
    responses=_CREATED,
    openapi_extra=DATASET_BODY,
    dependencies=[needs(Scope.SUBMIT)],
)
def create(
    body: DatasetBody,
    request: Request,
    response: Response,
    use: Use,
    tenant: Tenant,
    who: Who,
    dry_run: Annotated[
        bool, Query(description="Whether to tell what it would be, and store nothing.")
    ] = False,
) -> DatasetView | JSONResponse:
    """Takes a dataset, or goes on with the one of that name: its rows again, and perhaps more after them.

    409 `changed` when its rows or parameters are others than they were; the detail tells the difference. 429 when the tenant
    has as many renders waiting as it may; the images of a dataset that is larger than the room come in as there is some.
    """
    check_manifest(who, tenant, body.manifest.key)
    if body.webhook is not None:
        use.farm.reachable("webhook.url", body.webhook.url)
    if dry_run:
        return _plan(use, tenant, body, request)
    use.datasets.create(body, tenant=tenant)
    shown = _show(use, tenant, body.name, request)
    if shown.phase == "checking":
        response.status_code = HTTPStatus.ACCEPTED
    response.headers["Location"] = shown.url
    return shown


def _plan(use: Services, tenant: str, body: DatasetRequest, request: Request) -> JSONResponse:
    if is_inline(body):
        plan = planned(use, body.name, plan_now(use.datasets, body, tenant=tenant))
        return JSONResponse(plan.model_dump(mode="json"))
    planning = show_plan(str(plan_later(use.datasets, body, tenant=tenant)), request, use, tenant)
    return JSONResponse(
        planning.model_dump(mode="json"), status_code=HTTPStatus.ACCEPTED, headers={"Location": planning.url}
    )


@router.get("", responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY), dependencies=[needs(Scope.READ)])
def listing(
    request: Request,
    use: Use,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=100, description="Datasets on one page, at most.")] = 20,
    after: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> DatasetList:
    """Lists datasets, newest first."""
    before = cursors.NEWEST if after is None else cursors.decode(after)
    found = use.repository.transact(
        lambda c: [
            (one, sets.progress(c, one.id))
            for one in sets.listing(c, tenant=tenant, before=before, limit=limit + 1)
        ]
    )
    views = [datasets_shown.summary(one, progress, request.base_url) for one, progress in found[:limit]]
    shown: list[DatasetSummary] = datasets_shown.within(views)
    more = len(found) > len(shown)
    return DatasetList(data=shown, has_more=more, next_cursor=cursors.encode(shown[-1].id) if more else None)


@router.get("/{name}", responses=_SHOWN, dependencies=[needs(Scope.READ)])
def show(name: Name, request: Request, use: Use, tenant: Tenant) -> DatasetView:
    """Shows a dataset: state, counts, what its manifest gives, what failed, and how fast it goes."""
    return _show(use, tenant, name, request)


@router.post("/{name}/cancel", responses=_SHOWN, dependencies=[needs(Scope.CANCEL)])
def cancel(name: Name, request: Request, use: Use, tenant: Tenant) -> DatasetView:
    """Takes a dataset back. Sealed shards stay, and so does one that has ended."""
    dataset = require(use.repository, name, tenant)
    if dataset.phase == "checking":
        told = {"line": None, "field": "name", "message": "cancelled before its manifest was checked"}
        use.repository.transact(lambda c: sets.reject(c, dataset.id, told))
    if dataset.state is not None:
        use.farm.cancel(dataset.id, tenant=tenant)
    return _show(use, tenant, name, request)


@router.delete("/{name}", status_code=204, responses=_CHANGED, dependencies=[needs(Scope.CANCEL)])
def delete(name: Name, use: Use, tenant: Tenant) -> None:
    """Throws a dataset away that is not at work, for good: shards, spool and records. Its name is free from then on.

    409 `not_ready` while it is at work: cancel it first. Once more, it changes nothing while something of it is still there,
    a minute at least; after that it is 404. Of a batch, the batch and its files go with it.
    """
    try:
        dataset = require(use.repository, name, tenant)
    except NotFound:
        if NAME.fullmatch(name) and use.repository.transact(
            lambda c: deleting.is_going(c, name, tenant=tenant)
        ):
            return
        raise
    use.repository.transact(lambda c: deleting.mark_dataset_deleted(c, dataset.id, name, tenant=tenant))


@router.post("/{name}/pause", responses=_CHANGED, dependencies=[needs(Scope.CANCEL)])
def pause(name: Name, request: Request, use: Use, tenant: Tenant) -> DatasetView:
    """Holds back what has not been sent to a worker yet. Rows go on coming in; one that has ended stays as it is."""
    return _paused(use, tenant, name, request, paused=True)


@router.post("/{name}/resume", responses=_CHANGED, dependencies=[needs(Scope.CANCEL)])
def resume(name: Name, request: Request, use: Use, tenant: Tenant) -> DatasetView:
    """Lets a paused dataset go on."""
    return _paused(use, tenant, name, request, paused=False)


def _paused(use: Services, tenant: str, name: str, request: Request, *, paused: bool) -> DatasetView:
    dataset = require(use.repository, name, tenant)
    if dataset.state is None:
        raise Conflict(f"the manifest of the dataset {name} is not checked yet; try again later")
    use.repository.pause_job(dataset.id, tenant=tenant, paused=paused)
    return _show(use, tenant, name, request)


@router.post("/{name}/retry-failed", responses=_CHANGED, dependencies=[needs(Scope.SUBMIT)])
def retry_failed(name: Name, request: Request, use: Use, tenant: Tenant) -> Retried:
    """Queues failed images again, and shards that could not be packed. Touches nothing else."""
    dataset = require(use.repository, name, tenant)
    retried = use.repository.transact(lambda c: retrying.retry_failed(c, dataset.id))
    return Retried(retried=retried, dataset=_show(use, tenant, name, request))


@router.get("/{name}/failures", responses=_SHOWN, dependencies=[needs(Scope.READ)])
def failures(
    name: Name,
    use: Use,
    tenant: Tenant,
    from_: Annotated[
        int, Query(alias="from", ge=0, le=2**31 - 1, description="Ordinal of the first image.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="Images on one page, at most.")] = 100,
) -> FailureList:
    """Lists failed images by ordinal, each with its last failure."""
    dataset = require(use.repository, name, tenant)
    rows = use.repository.transact(lambda c: sets.failures(c, dataset.id, first=from_, limit=limit + 1))
    shown = datasets_shown.within(map(datasets_shown.failure, rows[:limit]))
    more = len(rows) > len(shown)
    return FailureList(data=shown, next=shown[-1].ordinal + 1 if more else None)


def _show(use: Services, tenant: str, name: str, request: Request) -> DatasetView:
    found = use.repository.transact(lambda c: look(c, name, tenant=tenant))
    if found is None:
        raise NotFound(f"no dataset {name}")
    return datasets_shown.in_full(found, request.base_url)
