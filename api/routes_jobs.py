"""Jobs: submit, refine, list, show, cancel."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from api import cursors, schemas
from api.access import needs
from api.datasets_shown import within
from api.deps import IdempotencyKey, JobId, Services, Tenant, Use, Wait
from api.filters import WantedJobs
from api.limits import RefineBody, SpecBody
from api.openapi import REFINE_BODY, SPEC_BODY, problems
from api.patient import Patient
from api.quoting import quote
from api.room import fitting
from latentfarm.api_keys import Scope
from latentfarm.errors import NotFound
from latentfarm.job_outlook import outlook_of
from latentfarm.lifecycle import Submitted
from latentfarm.quote_views import JobQuote
from latentfarm.repository import listing as jobs_listed
from latentfarm.repository import reviving
from latentfarm.states import JobState
from latentfarm.views import JobList, JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

IMAGES_PAGE = 64
"""Images that one answer shows, at most: it stays below 64 KiB."""

_BAD_SPEC = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
)


_SUBMITTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `Prefer: wait=N`: the job, which has ended. With `dry_run`: what it would be; nothing was"
        " stored.",
        "model": JobView | JobQuote,
    },
    **problems(*_BAD_SPEC),
}


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    responses=_SUBMITTED,
    openapi_extra=SPEC_BODY,
    dependencies=[needs(Scope.SUBMIT)],
)
def submit(
    spec: SpecBody,
    request: Request,
    response: Response,
    use: Use,
    tenant: Tenant,
    key: IdempotencyKey,
    wait: Wait,
    dry_run: Annotated[
        bool, Query(description="Whether to tell what it would take, and store nothing.")
    ] = False,
) -> JobView | Response:
    """Accepts a job. Once this has answered, the job is kept, whatever dies.

    With `Prefer: wait=N` the answer comes when the job has ended, or after N seconds; who hangs up before loses nothing.
    """
    if dry_run:
        return JSONResponse(quote(use, spec, tenant=tenant, key=key).model_dump(mode="json"))
    submitted = use.farm.submit(spec, tenant=tenant, key=key)
    shown = _accepted(use, tenant, submitted, request, response)
    if wait is None:
        return shown
    job_id, headers = submitted.job_id, dict(response.headers)

    def ended() -> Response:
        page = _page(use, tenant, job_id, request, first=0, limit=IMAGES_PAGE)
        kept = {name: value for name, value in headers.items() if name != "retry-after"}
        return JSONResponse(page.model_dump(mode="json"), headers=kept)

    accepted = JSONResponse(shown.model_dump(mode="json"), HTTPStatus.ACCEPTED, headers)
    return Patient(use.hub, use.repository, (job_id, tenant), wait, accepted=accepted, ended=ended)


@router.post(
    "/{job_id}/refine",
    status_code=202,
    responses=problems(HTTPStatus.NOT_FOUND, *_BAD_SPEC),
    openapi_extra=REFINE_BODY,
    dependencies=[needs(Scope.SUBMIT)],
)
def refine(
    job_id: JobId,
    body: RefineBody,
    request: Request,
    response: Response,
    use: Use,
    tenant: Tenant,
    key: IdempotencyKey,
) -> JobView:
    """Refines images of a job again with other settings, without its base stage: a new job.

    409 `latents_gone` when the latents are no longer kept, `image_gone` for images that failed, and
    `not_ready` for those that the job is still at work on; each names the images.
    """
    submitted = use.refining.refine(job_id, body, tenant=tenant, key=key)
    return _accepted(use, tenant, submitted, request, response)


@router.get("", responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY), dependencies=[needs(Scope.READ)])
def listing(
    request: Request,
    use: Use,
    tenant: Tenant,
    wanted: WantedJobs,
    limit: Annotated[int, Query(ge=1, le=100, description="Jobs on one page, at most.")] = 20,
    after: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> JobList:
    """Lists jobs, newest first; those that all parameters fit.

    A page looks at 10,000 jobs: one that few of them fit is short, or empty, and `has_more` tells to go on.
    """
    before = cursors.NEWEST if after is None else cursors.decode(after)
    jobs, following = use.repository.transact(
        lambda c: jobs_listed.find(c, wanted, tenant=tenant, before=before, limit=limit)
    )
    shown = within(schemas.summary(job, request.base_url) for job in jobs)
    if len(shown) < len(jobs):
        following = shown[-1].id
    return JobList(
        data=shown,
        has_more=following is not None,
        next_cursor=None if following is None else cursors.encode(following),
    )


@router.get(
    "/{job_id}",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    dependencies=[needs(Scope.READ)],
)
def show(
    job_id: JobId,
    request: Request,
    use: Use,
    tenant: Tenant,
    images_from: Annotated[int, Query(ge=0, le=1_000_000, description="Index of the first image.")] = 0,
    images_limit: Annotated[
        int, Query(ge=0, le=IMAGES_PAGE, description="Images on one page.")
    ] = IMAGES_PAGE,
) -> JobView:
    """Shows a job: state, counts, the spec with every default, and a page of its images."""
    return _page(use, tenant, job_id, request, first=images_from, limit=images_limit)


@router.post("/{job_id}/cancel", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[needs(Scope.CANCEL)])
def cancel(job_id: JobId, request: Request, use: Use, tenant: Tenant) -> JobView:
    """Takes a job back, wherever its images are. A job that has ended stays as it is."""
    use.farm.cancel(job_id, tenant=tenant)
    return _page(use, tenant, job_id, request, first=0, limit=IMAGES_PAGE)


@router.post(
    "/{job_id}/retry",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
    dependencies=[needs(Scope.SUBMIT)],
)
def retry(job_id: JobId, request: Request, use: Use, tenant: Tenant) -> JobView:
    """Tries the failed images of a job that has ended again, and touches no other. The job is running again.

    409 `ended` when no image has failed, the job was cancelled or its images are kept no longer, `latents_gone` or
    `input_gone` when what they would start from is, and `not_ready` while the job is at work.
    """
    use.repository.transact(lambda c: reviving.retry(c, job_id, tenant=tenant))
    return _page(use, tenant, job_id, request, first=0, limit=IMAGES_PAGE)


@router.delete(
    "/{job_id}",
    status_code=204,
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    dependencies=[needs(Scope.CANCEL)],
)
def delete(job_id: JobId, use: Use, tenant: Tenant) -> None:
    """Throws a job away, whatever its state: what is at work is cancelled, and its images go; for good.

    The record stays, with `deleted_at` and without prompts and metadata. It is in no list any more, and its images answer
    410. Jobs that were made from it keep what they need. Once more, it changes nothing.
    """
    use.farm.delete(job_id, tenant=tenant)


@router.post("/{job_id}/pause", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[needs(Scope.CANCEL)])
def pause(job_id: JobId, request: Request, use: Use, tenant: Tenant) -> JobView:
    """Holds back what has not been sent to a worker yet. A job that has ended stays as it is."""
    use.repository.pause_job(job_id, tenant=tenant, paused=True)
    return _page(use, tenant, job_id, request, first=0, limit=IMAGES_PAGE)


@router.post("/{job_id}/resume", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[needs(Scope.CANCEL)])
def resume(job_id: JobId, request: Request, use: Use, tenant: Tenant) -> JobView:
    """Lets a paused job go on."""
    use.repository.pause_job(job_id, tenant=tenant, paused=False)
    return _page(use, tenant, job_id, request, first=0, limit=IMAGES_PAGE)


def _accepted(
    use: Services, tenant: str, submitted: Submitted, request: Request, response: Response
) -> JobView:
    """The answer to whatever makes a job: 202, and where it is shown."""
    job = use.repository.get_job(submitted.job_id, tenant=tenant)
    if job is None or job.deleted_at is not None:
        raise NotFound(f"the job {submitted.job_id} of this Idempotency-Key was removed")
    response.headers["Location"] = schemas.job_url(request.base_url, job.id)
    response.headers["Retry-After"] = "1"
    if submitted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    images = None if job.source is None else use.repository.images(job.id, limit=IMAGES_PAGE)
    return fitting(schemas.as_accepted(job, request.base_url, IMAGES_PAGE, images))


def _page(use: Services, tenant: str, job_id: UUID, request: Request, *, first: int, limit: int) -> JobView:
    found = use.repository.job_page(job_id, tenant=tenant, first=first, limit=limit)
    if found is None:
        raise NotFound(f"no job {job_id}")
    job, counts, images = found
    following = first + limit
    images_next = following if following < job.num_images else None
    shown = fitting(schemas.in_full(job, request.base_url, counts, images, images_next))
    if job.state is not JobState.QUEUED:
        return shown
    place, estimate = use.repository.transact(lambda c: outlook_of(c, job))
    return shown.model_copy(update={"queue": place, "estimate": estimate})
