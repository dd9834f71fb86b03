"""Replicate's predictions: create, list, show, cancel."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from api import cursors
from api.access import needs
from api.deps import JobId, Tenant, Use
from api.filters import Time
from api.replicate import telling
from api.replicate.creating import Creating
from api.replicate.document import PREDICTION_BODY, REFUSED, problems
from api.replicate.models import entry_at, entry_of
from api.replicate.requests import PredictionRequest
from latentfarm.api_keys import Scope
from latentfarm.errors import InvalidInput
from latentfarm.predictions import PREFIX, PredictionView
from latentfarm.registry import ModelEntry, Registry
from latentfarm.repository.listing import Wanted
from latentfarm.views import View

router = APIRouter(prefix=PREFIX, tags=["Replicate"])

#: Clients send whatever token their environment has: on the API's own machine one that is no key of ours counts as none.
SUBMITTER, READER = needs(Scope.SUBMIT, any_bearer=True), needs(Scope.READ, any_bearer=True)
CANCELLER = needs(Scope.CANCEL, any_bearer=True)

_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The prediction; with `Prefer: wait` as it ended, if it has.",
        "model": PredictionView,
    }
}
Owner = Annotated[str, Path(description="Always `latentfarm`.")]
Model = Annotated[str, Path(description="A name in the registry.")]


class PredictionPage(View):
    """Predictions, newest first."""

    previous: str | None = Field(None, description="Always null.")
    next: str | None = Field(description="URL of the next page; null: there is none.")
    results: list[PredictionView] = Field(description="At most 20 predictions.")


@router.post(
    "/predictions",
    status_code=201,
    response_class=Response,
    responses={**_CREATED, **problems(HTTPStatus.NOT_FOUND, *REFUSED)},
    openapi_extra=PREDICTION_BODY,
    dependencies=[SUBMITTER],
)
async def create(creating: Annotated[Creating, Depends()]) -> Response:
    """Makes a prediction of a version, or of a model. Replicate's `predictions.create`.

    Once this has answered, it is kept, whatever dies. Who hangs up while it waits loses nothing.
    """
    return await creating.answer(lambda registry, body: entry_of(registry, body.version, body.model))


@router.post(
    "/models/{owner}/{model}/predictions",
    status_code=201,
    response_class=Response,
    responses={**_CREATED, **problems(HTTPStatus.NOT_FOUND, *REFUSED)},
    openapi_extra=PREDICTION_BODY,
    dependencies=[SUBMITTER],
)
async def create_of_model(owner: Owner, model: Model, creating: Annotated[Creating, Depends()]) -> Response:
    """Makes a prediction of a model. Replicate's `models.predictions.create`, and `run` without a version."""

    def find(registry: Registry, body: PredictionRequest) -> ModelEntry:
        for field in ("version", "model"):
            if getattr(body, field) is not None:
                raise InvalidInput(field, "the path says it already", "leave it out")
        return entry_at(registry, owner, model)

    return await creating.answer(find)


@router.get("/predictions", responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY), dependencies=[READER])
def listing(
    request: Request,
    use: Use,
    tenant: Tenant,
    cursor: Annotated[str | None, Query(description="Of the page before, in its `next`.")] = None,
    created_after: Annotated[
        Time | None, Query(description="Accepted at that time or later; ISO 8601 with its offset.")
    ] = None,
    created_before: Annotated[
        Time | None, Query(description="Accepted before that time; ISO 8601 with its offset.")
    ] = None,
) -> PredictionPage:
    """Lists predictions, newest first: all jobs of kind `single`, whoever submitted them. Replicate's `predictions.list`."""
    before = cursors.NEWEST if cursor is None else cursors.decode(cursor, "cursor")
    wanted = Wanted(kind=telling.KIND, created_after=created_after, created_before=created_before)
    teller = telling.teller_of(use, request)
    found, following = telling.page(use, teller, wanted, tenant=tenant, before=before)
    further = None
    if following is not None:
        further = str(request.url.include_query_params(cursor=cursors.encode(following)))
    return PredictionPage(next=further, results=found)


@router.get("/predictions/{job_id}", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[READER])
def show(job_id: JobId, request: Request, use: Use, tenant: Tenant) -> PredictionView:
    """Shows a prediction. Replicate's `predictions.get`."""
    return telling.shown(use, telling.teller_of(use, request), job_id, tenant=tenant)


@router.post(
    "/predictions/{job_id}/cancel", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[CANCELLER]
)
def cancel(job_id: JobId, request: Request, use: Use, tenant: Tenant) -> PredictionView:
    """Takes a prediction back, wherever its images are. One that has ended stays as it is. Replicate's `predictions.cancel`."""
    teller = telling.teller_of(use, request)
    # First: a job of another kind is no prediction, and must not be cancelled as one.
    telling.shown(use, teller, job_id, tenant=tenant)
    use.farm.cancel(job_id, tenant=tenant)
    return telling.shown(use, teller, job_id, tenant=tenant)
