"""Dry runs that the scheduler makes: what datasets out of large manifests would be."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from api import datasets_shown
from api.access import needs
from api.deps import Services, Tenant, Use
from api.openapi import problems
from latentfarm.api_keys import Scope
from latentfarm.dataset_views import DatasetPlan, DatasetPlanning
from latentfarm.errors import NotFound
from latentfarm.ids import parse_id
from latentfarm.repository import outlook, plans

router = APIRouter(prefix="/v1/plans", tags=["datasets"])

PlanId = Annotated[str, Path(description="Id of a dry run.", json_schema_extra={"format": "uuid"})]


@router.get(
    "/{plan_id}",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    dependencies=[needs(Scope.READ)],
)
def show(plan_id: PlanId, request: Request, use: Use, tenant: Tenant) -> DatasetPlanning:
    """Shows a dry run of a manifest in the bucket: being made, what it found, or what is wrong."""
    found = parse_id(plan_id)
    dataset = use.repository.transact(lambda c: plans.get(c, found, tenant=tenant))
    if dataset is None:
        raise NotFound(f"no dry run {found}")
    shown: dict[str, Any] = {"id": found, "url": f"{str(request.base_url).rstrip('/')}/v1/plans/{found}"}
    if dataset.phase == "checking":
        return DatasetPlanning(state="checking", **shown)
    if (error := datasets_shown.fault(dataset.report)) is not None:
        return DatasetPlanning(state="rejected", error=error, **shown)
    name = dataset.request["name"]
    return DatasetPlanning(state="planned", plan=planned(use, name, dataset.report), **shown)


def planned(use: Services, name: str, report: dict[str, Any]) -> DatasetPlan:
    """What a dry run has found, with what it would take by what was rendered until now."""
    speed, size = use.repository.transact(lambda c: (outlook.speed(c), outlook.image_size(c)))
    return datasets_shown.plan(name, report, datasets_shown.estimate(report, speed, size))
