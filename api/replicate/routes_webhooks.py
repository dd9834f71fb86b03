"""The secret by which Replicate's clients validate what a prediction's webhook was sent."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import Field

from api.deps import Tenant, Use
from api.replicate.document import problems
from api.replicate.routes_predictions import SUBMITTER
from latentfarm.predictions import PREFIX
from latentfarm.views import View

router = APIRouter(prefix=f"{PREFIX}/webhooks", tags=["Replicate"])


class WebhookSecret(View):
    """What signs the webhooks that predictions name."""

    key: str = Field(description="`whsec_` and 256 bits in base64, as Standard Webhooks has it.")


@router.get("/default/secret", responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY), dependencies=[SUBMITTER])
def secret(use: Use, tenant: Tenant) -> WebhookSecret:
    """Tells the secret; drawn when it is first asked for. Replicate's `webhooks.default.secret`.

    The same as at `GET /v1/webhooks/default/secret`, and rotated there.
    """
    return WebhookSecret(key=use.webhooks.default_secret(tenant))
