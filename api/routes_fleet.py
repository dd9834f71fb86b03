"""Workers and queues: list, drain, resume. For whoever operates the farm, across tenants."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path

from api.access import needs
from api.deps import Services, Use
from api.limits import WorkerBody
from api.openapi import WORKER_BODY, problems
from latentfarm.api_keys import Scope
from latentfarm.errors import NotFound
from latentfarm.fleet_views import (
    QueueList,
    QueueView,
    WorkerList,
    WorkerState,
    WorkerView,
)
from latentfarm.repository import draining
from latentfarm.repository.draining import Standing
from latentfarm.states import RenderState, Stage

router = APIRouter(prefix="/v1", tags=["operations"])

QueueName = Annotated[str, Path(description="Name of a queue, such as `base.sdxl.bulk`.", max_length=255)]
_CHANGED = problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_CHOSEN = _CHANGED | problems(
    HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
)


@router.get("/workers", responses=problems(), dependencies=[needs(Scope.ADMIN)])
def workers(use: Use) -> WorkerList:
    """Lists live workers, and drained devices."""
    return WorkerList(data=[_worker(one) for one in use.repository.transact(draining.workers)])


@router.post(
    "/workers/drain", responses=_CHOSEN, openapi_extra=WORKER_BODY, dependencies=[needs(Scope.ADMIN)]
)
def drain_workers(body: WorkerBody, use: Use) -> WorkerList:
    """Lets devices finish, or save, what they hold, and gives them nothing more until they are resumed.

    However often their workers are restarted.
    """
    return _set_drained(use, body.worker, drained=True)


@router.post(
    "/workers/resume", responses=_CHOSEN, openapi_extra=WORKER_BODY, dependencies=[needs(Scope.ADMIN)]
)
def resume_workers(body: WorkerBody, use: Use) -> WorkerList:
    """Lets drained devices work again."""
    return _set_drained(use, body.worker, drained=False)


def _set_drained(use: Services, name: str, *, drained: bool) -> WorkerList:
    # PostgreSQL takes no NUL, and nothing is called so.
    found = [] if "\x00" in name else use.repository.transact(lambda c: draining.devices_of(c, name))
    if not found:
        raise NotFound(f"no worker, host or device {name[:100]!r} was here within a day")
    use.repository.transact(lambda c: draining.set_drained(c, found, drained=drained))
    shown = [_worker(one) for one in use.repository.transact(draining.workers)]
    return WorkerList(data=[one for one in shown if (one.host, one.device) in found])


@router.get("/queues", responses=problems(), dependencies=[needs(Scope.ADMIN)])
def queues(use: Use) -> QueueList:
    """Lists all queues with what is in them."""
    return QueueList(data=_queues(use))


@router.post("/queues/{name}/drain", responses=_CHANGED, dependencies=[needs(Scope.ADMIN)])
def drain_queue(name: QueueName, use: Use) -> QueueView:
    """Sends nothing more out of a queue until it is resumed. What is sent already is rendered."""
    return _set_queue_drained(use, name, drained=True)


@router.post("/queues/{name}/resume", responses=_CHANGED, dependencies=[needs(Scope.ADMIN)])
def resume_queue(name: QueueName, use: Use) -> QueueView:
    """Lets a drained queue go on."""
    return _set_queue_drained(use, name, drained=False)


def _set_queue_drained(use: Services, name: str, *, drained: bool) -> QueueView:
    known = "\x00" not in name and use.repository.transact(
        lambda c: draining.set_queue_drained(c, name, drained=drained)
    )
    shown = {one.name: one for one in _queues(use)}
    if not known:
        raise NotFound(f"no queue {name[:100]!r}; there are: {', '.join(shown) or 'none'}")
    return shown[name]


def _queues(use: Services) -> list[QueueView]:
    drained = use.repository.transact(draining.drained_queues)
    counts = {(name, state): number for name, state, number in use.repository.live_counts()}
    return [
        QueueView(
            name=queue.name,
            queued=counts.get((queue.name, RenderState.QUEUED), 0),
            dispatched=counts.get((queue.name, RenderState.DISPATCHED), 0),
            running=counts.get((queue.name, RenderState.RUNNING), 0),
            wait_s=round(queue.wait_s, 3),
            drained_at=drained.get(queue.name),
        )
        for queue in sorted(use.repository.queues(), key=lambda queue: queue.name)
    ]


def _worker(one: Standing) -> WorkerView:
    return WorkerView(
        id=one.id,
        host=one.host,
        device=one.device,
        state=_state(one),
        stages=[Stage(stage).label for stage in sorted(one.stages or ())],
        models=sorted(filter(None, one.assigned_models or ())),
        running=one.running,
        drained_at=one.drained_at,
    )


def _state(one: Standing) -> WorkerState:
    if one.drained_at is not None:
        return "drained" if one.id is None else "draining"
    if (one.lease_left_s or 0.0) <= 0:
        return "silent"
    return "ready" if one.ready else "loading"
