"""Webhooks of a tenant: create, list, show, change, rotate, delete; and the secret of those that jobs name."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.access import needs
from api.deps import Tenant, Use
from api.hook_bodies import ChangeBody, HookBody, RotationBody
from api.openapi import HOOK_BODY, HOOK_CHANGE_BODY, HOOK_ROTATE_BODY, problems
from latentfarm.api_keys import Scope
from latentfarm.hook_views import SecretView, WebhookCreated, WebhookList, WebhookView
from latentfarm.logs import get_logger
from latentfarm.webhooks.hook import Hook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

HOUR_S = 3_600
HookId = Annotated[
    str,
    Path(
        description="Id of a webhook; `default` is that of the URLs that jobs name.",
        min_length=1,
        max_length=64,
    ),
]
_BAD_BODY = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_FOUND = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_ANSWERS = {*_BAD_BODY, *_FOUND}


@router.post(
    "",
    status_code=201,
    dependencies=[needs(Scope.SUBMIT)],
    responses=problems(*_BAD_BODY),
    openapi_extra=HOOK_BODY,
)
def create(body: HookBody, response: Response, use: Use, tenant: Tenant) -> WebhookCreated:
    """Makes a webhook. The answer shows its secret, for the only time."""
    hook, secret = use.webhooks.create(tenant=tenant, url=body.url, events=body.events, form=body.format)
    get_logger().info("webhook_created", webhook=str(hook.id), tenant=tenant)
    return _created(hook, secret, response)


@router.get("", dependencies=[needs(Scope.READ)], responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY))
def listing(use: Use, tenant: Tenant) -> WebhookList:
    """Lists webhooks in the order in which they were made, disabled ones too, without their secrets."""
    return WebhookList(data=[_shown(hook) for hook in use.webhooks.listing(tenant=tenant)])


@router.get(
    "/default/secret",
    # Replicate's clients ask this, and cannot leave a token out.
    dependencies=[needs(Scope.SUBMIT, any_bearer=True)],
    responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY),
)
def default_secret(response: Response, use: Use, tenant: Tenant) -> SecretView:
    """Tells the secret that signs what goes to the URLs that jobs name."""
    response.headers["Cache-Control"] = "no-store"
    return SecretView(key=use.webhooks.default_secret(tenant))


@router.get("/{webhook_id}", dependencies=[needs(Scope.READ)], responses=problems(*_FOUND))
def show(webhook_id: HookId, use: Use, tenant: Tenant) -> WebhookView:
    """Shows a webhook, without its secret."""
    return _shown(use.webhooks.get(webhook_id, tenant=tenant))


@router.patch(
    "/{webhook_id}",
    dependencies=[needs(Scope.SUBMIT)],
    responses=problems(*sorted(_ANSWERS)),
    openapi_extra=HOOK_CHANGE_BODY,
)
def change(webhook_id: HookId, body: ChangeBody, use: Use, tenant: Tenant) -> WebhookView:
    """Changes what the body names. Enabling one that was disabled does not send what was given up: replay that."""
    hook = use.webhooks.change(webhook_id, body.model_dump(exclude_unset=True), tenant=tenant)
    return _shown(hook)


@router.delete(
    "/{webhook_id}", status_code=204, dependencies=[needs(Scope.SUBMIT)], responses=problems(*_FOUND)
)
def delete(webhook_id: HookId, use: Use, tenant: Tenant) -> None:
    """Forgets a webhook, with its log and what is due to it."""
    use.webhooks.delete(webhook_id, tenant=tenant)
    get_logger().info("webhook_deleted", webhook=webhook_id, tenant=tenant)


@router.post(
    "/{webhook_id}/rotate",
    dependencies=[needs(Scope.SUBMIT)],
    responses=problems(*sorted(_ANSWERS)),
    openapi_extra=HOOK_ROTATE_BODY,
)
def rotate(
    webhook_id: HookId, body: RotationBody, response: Response, use: Use, tenant: Tenant
) -> WebhookCreated:
    """Gives a webhook a new secret, which the answer shows; the one before signs beside it for some hours."""
    overlap_s = float(HOUR_S * body.overlap_hours)
    hook, secret = use.webhooks.rotate(webhook_id, tenant=tenant, overlap_s=overlap_s)
    get_logger().info("webhook_rotated", webhook=str(hook.id), tenant=tenant)
    return _created(hook, secret, response)


def _shown(hook: Hook) -> WebhookView:
    return WebhookView.model_validate(asdict(hook))


def _created(hook: Hook, secret: str, response: Response) -> WebhookCreated:
    response.headers["Cache-Control"] = "no-store"
    return WebhookCreated.model_validate(asdict(hook) | {"secret": secret})
