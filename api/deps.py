"""What routes ask for: the services of this process, the tenant, and ids out of paths."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Request

from api.access import Caller
from api.figures import Figures
from api.hurry import Hurry
from api.patient import asked_wait
from api.rates import Rates
from api.readiness import Readiness
from api.tenancy import caller, tenant
from latentfarm.broker import Broker
from latentfarm.datasets import Datasets
from latentfarm.errors import InvalidInput
from latentfarm.events import EventHub
from latentfarm.ids import parse_id
from latentfarm.inputs.offering import Uploads
from latentfarm.key_ring import KeyRing
from latentfarm.lifecycle import Farm
from latentfarm.refining import Refining
from latentfarm.registry import Registry
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.storage import S3Store
from latentfarm.webhook_desk import WebhookDesk

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Services:
    """All that one API process holds."""

    settings: Settings
    repository: Repository
    broker: Broker
    store: S3Store
    registry: Registry
    farm: Farm
    refining: Refining
    datasets: Datasets
    uploads: Uploads
    keys: KeyRing
    rates: Rates
    webhooks: WebhookDesk
    hurry: Hurry
    hub: EventHub
    readiness: Readiness
    figures: Figures


def services(request: Request) -> Services:
    """Made at start-up, see `app.lifespan`."""
    found: Services = request.app.state.services
    return found


def job_id(
    job_id: Annotated[str, Path(description="Id of a job.", json_schema_extra={"format": "uuid"})],
) -> UUID:
    """The job of a path; what is no UUID cannot exist."""
    return parse_id(job_id)


def idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same key and body again give the first answer again, and no second job.",
            json_schema_extra={"pattern": rf"^[!-~]([ -~]{{0,{MAX_KEY - 2}}}[!-~])?$"},
        ),
    ] = None,
) -> str | None:
    """The key of a submit, if any.

    Raises:
        InvalidInput: it is empty, too long or not visible ASCII.
    """
    if idempotency_key is None:
        return None
    visible = idempotency_key.isascii() and idempotency_key.isprintable()
    if not visible or not 1 <= len(idempotency_key) <= MAX_KEY:
        raise InvalidInput("Idempotency-Key", "not a usable key", f"1 to {MAX_KEY} visible ASCII characters")
    return idempotency_key


def wait(
    request: Request,
    prefer: Annotated[  # noqa: ARG001 - for the document; all headers of the name count
        str | None,
        Header(
            description="`wait=N`, 1 to 60: answer when the job has ended, or after so many seconds. Others are left alone."
        ),
    ] = None,
) -> int | None:
    """Seconds that the client would wait for the end of its job, if any."""
    return asked_wait(request.headers.getlist("prefer"))


Use = Annotated[Services, Depends(services)]
Tenant = Annotated[str, Depends(tenant)]
Who = Annotated[Caller, Depends(caller)]
JobId = Annotated[UUID, Depends(job_id)]
IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
Wait = Annotated[int | None, Depends(wait)]
