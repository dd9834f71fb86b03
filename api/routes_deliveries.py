"""What was sent to a webhook: listed, and sent again."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api import cursors
from api.access import needs
from api.deps import Tenant, Use
from api.hook_bodies import ReplayBody
from api.openapi import REPLAY_BODY, problems
from api.routes_webhooks import HookId
from latentfarm.api_keys import Scope
from latentfarm.hook_views import DeliveryList, DeliveryView, Replayed, State, TryView
from latentfarm.webhooks.hook import Delivery, DeliveryState
from latentfarm.webhooks.signing import message_id

router = APIRouter(prefix="/v1/webhooks/{webhook_id}", tags=["webhooks"])

DeliveryId = Annotated[str, Path(description="Id of a delivery.", json_schema_extra={"format": "uuid"})]


@router.get(
    "/deliveries",
    dependencies=[needs(Scope.READ)],
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
def deliveries(
    webhook_id: HookId,
    use: Use,
    tenant: Tenant,
    state: Annotated[State | None, Query(description="Those that stand so only.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Deliveries on one page.")] = 20,
    after: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> DeliveryList:
    """Lists what was sent to a webhook, or will be, newest first, with what came of each try."""
    before = cursors.NEWEST if after is None else cursors.decode(after)
    found = use.webhooks.deliveries(webhook_id, tenant=tenant, before=before, state=state, limit=limit + 1)
    shown = [_shown(one) for one in found[:limit]]
    more = cursors.encode(found[limit - 1].id) if len(found) > limit else None
    return DeliveryList(data=shown, next_cursor=more)


@router.post(
    "/deliveries/{delivery_id}/replay",
    status_code=202,
    dependencies=[needs(Scope.SUBMIT)],
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
)
def replay(webhook_id: HookId, delivery_id: DeliveryId, use: Use, tenant: Tenant) -> DeliveryView:
    """Sends one again, with the same `webhook-id`, however it had ended."""
    return _shown(use.webhooks.replay(webhook_id, delivery_id, tenant=tenant))


@router.post(
    "/replay",
    status_code=202,
    dependencies=[needs(Scope.SUBMIT)],
    responses=problems(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    openapi_extra=REPLAY_BODY,
)
def replay_range(webhook_id: HookId, body: ReplayBody, use: Use, tenant: Tenant) -> Replayed:
    """Sends those again whose events happened in a time; those that were given up, unless `state` says otherwise."""
    count = use.webhooks.replay_range(
        webhook_id, tenant=tenant, since=body.since, until=body.until, state=body.state
    )
    return Replayed(count=count)


def _shown(one: Delivery) -> DeliveryView:
    return DeliveryView(
        id=one.id,
        webhook_id=message_id(one.id),
        job=one.job_id,
        type=one.type,
        url=one.url,
        state=one.state.value,
        tries=one.tries,
        created_at=one.created_at,
        next_try_at=one.due_at if one.state is DeliveryState.DUE else None,
        ended_at=one.ended_at,
        log=[TryView.model_validate(entry) for entry in one.log],
    )
