"""One image of a job: a short-lived link to the object store, or its bytes through the API."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import RedirectResponse

from api import schemas
from api.access import needs
from api.deps import JobId, Services, Tenant, Use
from api.openapi import problems
from api.problems import ProblemError
from api.sending import send
from latentfarm.api_keys import Scope
from latentfarm.errors import NotFound
from latentfarm.records import Image
from latentfarm.repository import telling
from latentfarm.retention import told
from latentfarm.states import LIVE
from latentfarm.views import AttemptList

router = APIRouter(prefix="/v1/jobs", tags=["images"])

RETRY_S = 1
Index = Annotated[str, Path(description="Counted from 0.", json_schema_extra={"format": "int32"})]
_DIGITS = 9  # more than any index has, and still an integer of PostgreSQL

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, with `proxy=1`.", "content": {"image/*": {}}},
    307: {"description": "A link that is good for some minutes."},
    **problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY),
}


@router.get(
    "/{job_id}/images/{index}",
    responses=_RESPONSES,
    response_class=Response,
    dependencies=[needs(Scope.READ)],
)
def image(
    job_id: JobId,
    index: Index,
    use: Use,
    tenant: Tenant,
    proxy: Annotated[bool, Query(description="Send the bytes in place of a link.")] = False,
) -> Response:
    """Leads to an image. 409 while it is not there, 410 when it never will be, or is kept no longer."""
    found = _find(use, tenant, job_id, index)
    if found.gone_at is not None:
        raise ProblemError(HTTPStatus.GONE, "gone", told(f"the images of job {job_id}", found.gone_at))
    if found.ref is None:
        raise _absent(job_id, found)
    if proxy:
        return send(use.store, found.ref, f"{job_id}-{found.index:04d}")
    link = use.store.link(found.ref.key, seconds=use.settings.link_s)
    # The link ends before a cache would.
    return RedirectResponse(link, 307, headers={"Cache-Control": "no-store"})


@router.get(
    "/{job_id}/images/{index}/attempts",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    dependencies=[needs(Scope.READ)],
)
def attempts(job_id: JobId, index: Index, use: Use, tenant: Tenant) -> AttemptList:
    """Tells what happened in each claim of an image: where, how far, how it ended."""
    number = _number(index)
    if number is None:
        raise _unknown(job_id, index)
    found = use.repository.transact(lambda c: telling.attempts(c, job_id, number, tenant=tenant))
    if found is None:
        raise _unknown(job_id, index)
    return schemas.attempts(found)


def _number(index: str) -> int | None:
    return int(index) if index.isascii() and index.isdigit() and len(index) <= _DIGITS else None


def _unknown(job_id: UUID, index: str) -> NotFound:
    return NotFound(f"no image {index[:20]!r} of a job {job_id}")


def _find(use: Services, tenant: str, job_id: UUID, index: str) -> Image:
    number = _number(index)
    found = None if number is None else use.repository.image(job_id, tenant=tenant, index=number)
    if found is None:
        raise _unknown(job_id, index)
    return found


def _absent(job_id: UUID, found: Image) -> ProblemError:
    detail = f"image {found.index} of job {job_id} is {found.state.label}"
    if found.state in LIVE:
        return ProblemError(HTTPStatus.CONFLICT, "not_ready", detail, retry_s=RETRY_S)
    return ProblemError(
        HTTPStatus.GONE, found.state.label, f"{detail}: {found.error}" if found.error else detail
    )
