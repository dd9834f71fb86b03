"""Bodies of the routes of webhooks; refused as specs are."""

from typing import Annotated

from fastapi import Depends, Request

from api.limits import checked, read_json
from latentfarm import strict_json
from latentfarm.hook_views import ReplayRequest, SecretRotation, WebhookChange, WebhookRequest


async def read_webhook(request: Request) -> WebhookRequest:
    """What is said of a webhook that is wanted."""
    return checked(strict_json.loads(await read_json(request)), WebhookRequest)


async def read_change(request: Request) -> WebhookChange:
    """What is to be other than it is."""
    return checked(strict_json.loads(await read_json(request)), WebhookChange)


async def read_rotation(request: Request) -> SecretRotation:
    """How a secret is to be replaced."""
    return checked(strict_json.loads(await read_json(request)), SecretRotation)


async def read_replay(request: Request) -> ReplayRequest:
    """Which deliveries are to be made again."""
    return checked(strict_json.loads(await read_json(request)), ReplayRequest)


HookBody = Annotated[WebhookRequest, Depends(read_webhook)]
ChangeBody = Annotated[WebhookChange, Depends(read_change)]
RotationBody = Annotated[SecretRotation, Depends(read_rotation)]
ReplayBody = Annotated[ReplayRequest, Depends(read_replay)]
