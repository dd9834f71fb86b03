"""The events of a job as a stream."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.access import needs
from api.deps import JobId, Tenant, Use, Who
from api.openapi import problems
from api.streaming import Watch
from latentfarm.api_keys import Scope
from latentfarm.errors import InvalidInput, NotFound
from latentfarm.previews import MOST_EVERY, Wish
from latentfarm.repository.replaying import place
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
    who: Who,
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event. Counts before `after`.")
    ] = None,
    after: Annotated[
        str | None,
        Query(description="The same, for who cannot set the header: `id` of the last event that was read."),
    ] = None,
    previews: Annotated[
        int | None,
        Query(
            ge=1,
            le=MOST_EVERY,
            description="Send what an image looks like after every so many steps, small and lossy.",
        ),
    ] = None,
) -> Response:
    """States as they are committed, and steps (lossy) as they are taken, until the job has ended.

    Events of states have an `id`; who comes back with the last one misses none and gets none twice, for as long as
    events are kept (7 days). An id that is older, or never was, is answered with `job.current`: how the job stands,
    and that events are missing. The stream ends when its API key is revoked or expires.
    """
    job = await run_in_threadpool(use.repository.get_job, job_id, tenant=tenant)
    if job is None:
        raise NotFound(f"no job {job_id}")
    named = _number("Last-Event-ID", last_event_id) or _number("after", after)
    stands = await run_in_threadpool(use.repository.transact, lambda c: place(c, job_id, named=named))
    # Asked in this order: the state and the last event of a job are written in one transaction.
    if named and job.state in FINAL_JOB and stands.seen_all:
        return Response(status_code=204)

    def admitted() -> bool:
        return who.key is None or use.keys.is_usable(who.key.prefix)

    wish = None if previews is None else Wish(every=previews)
    watch = Watch(use.hub, use.repository, job_id, tenant, stands, admitted, wish)
    return StreamingResponse(watch.lines(), media_type="text/event-stream", headers=_HEADERS)


def _number(field: str, given: str | None) -> int:
    if given is None:
        return 0
    # 18 digits: what still is a bigint of PostgreSQL.
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise InvalidInput(field, "not an id of an event", "a whole number")
    return int(given)
