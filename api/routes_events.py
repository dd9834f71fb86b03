"""The events of a job as a stream."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.access import needs
from api.deps import JobId, Tenant, Use
from api.openapi import problems
from api.streaming import Watch
from latentfarm.api_keys import Scope
from latentfarm.errors import InvalidInput, NotFound
from latentfarm.states import FINAL_JOB

router = APIRouter(prefix="/v1/jobs", tags=["events"])

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}},
    204: {"description": "The job has ended and all was seen: do not connect again."},
    **problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
}


@router.get(
    "/{job_id}/events", responses=_RESPONSES, response_class=Response, dependencies=[needs(Scope.READ)]
)
async def events(
    job_id: JobId,
    use: Use,
    tenant: Tenant,
    last_event_id: Annotated[str | None, Header(description="Go on after this event.")] = None,
) -> Response:
    """States as they are committed, and steps (lossy) as they are taken, until the job has ended."""
    job = await run_in_threadpool(use.repository.get_job, job_id, tenant=tenant)
    if job is None:
        raise NotFound(f"no job {job_id}")
    after = _number(last_event_id)
    if after and job.state in FINAL_JOB:
        missed = await run_in_threadpool(use.repository.events, [job_id], after=after)
        if not missed:
            return Response(status_code=204)
    watch = Watch(use.hub, use.repository, job_id, tenant, after)
    return StreamingResponse(watch.lines(), media_type="text/event-stream", headers=_HEADERS)


def _number(last_event_id: str | None) -> int:
    if last_event_id is None:
        return 0
    # 18 digits: what still is a bigint of PostgreSQL.
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18):
        raise InvalidInput("Last-Event-ID", "not an id of an event", "a whole number")
    return int(last_event_id)
