"""Submits what a prediction asks for, and answers at once or when it has ended."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from api.deps import IdempotencyKey, Services, Tenant, Use  # noqa: TC001 - FastAPI needs the types at run time
from api.limits import checked, read_json
from api.patient import LONGEST_S, Patient, asked_wait
from api.replicate import telling
from api.replicate.files import own_file
from api.replicate.requests import PredictionRequest
from api.replicate.translation import naming_inputs, to_spec
from latentfarm import strict_json
from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.webhooks.replicate import PARTS
from latentfarm.webhooks.wish import JobWebhook

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from latentfarm.predictions import PredictionView, Teller
    from latentfarm.registry import ModelEntry, Registry

CREATED = 201
EARLIER_S = 0.5
"""Seconds by which the answer comes before the end of the wait: the stock client stays half a second longer than that."""
_BARE = re.compile(r"(^|,)(\s*wait\s*)(?=,|;|$)", re.IGNORECASE)


async def read_prediction(request: Request) -> PredictionRequest:
    """The body of a request; refused as specs are."""
    return checked(strict_json.loads(await read_json(request)), PredictionRequest)


def wait(
    request: Request,
    prefer: Annotated[  # noqa: ARG001 - for the document; all headers of the name count
        str | None,
        Header(
            description="`wait` or `wait=N`, 1 to 60: answer when it has ended, or after so many seconds; 60 when bare."
        ),
    ] = None,
    cancel_after: Annotated[
        str | None, Header(description="Refused: predictions have no time after which they are cancelled.")
    ] = None,
) -> int | None:
    """Seconds that the client would wait, if any.

    Raises:
        InvalidInput: it is no number of seconds.
        NotSupported: it names a time after which the prediction is to be cancelled.
    """
    if cancel_after is not None:
        raise NotSupported("Cancel-After", "is not built yet", "leave it out")
    named = rf"\g<1>\g<2>={LONGEST_S}"
    return asked_wait(_BARE.sub(named, header) for header in request.headers.getlist("prefer"))


Body = Annotated[PredictionRequest, Depends(read_prediction)]
Wait = Annotated[int | None, Depends(wait)]


class Creating:
    """One request for a prediction: what its routes have in common."""

    def __init__(
        self, body: Body, request: Request, use: Use, tenant: Tenant, key: IdempotencyKey, wait: Wait
    ) -> None:
        self._body = body
        self._request = request
        self._use = use
        self._tenant = tenant
        self._key = key
        self._wait = wait
        self._began = time.monotonic()

    async def answer(self, find: Callable[[Registry, PredictionRequest], ModelEntry]) -> Response:
        """The prediction, once it is kept, or once it has ended.

        Args:
            find: the model that is meant.
        """
        refuse_unbuilt(self._body)
        return await run_in_threadpool(self._answer, find(self._use.registry, self._body))

    def _answer(self, entry: ModelEntry) -> Response:
        use, tenant = self._use, self._tenant
        given = {name: own_file(value, self._request) for name, value in self._body.input.items()}
        webhook = webhook_of(self._body)
        with naming_inputs():
            spec = to_spec(given, entry).model_copy(update={"webhook": webhook} if webhook else {})
            submitted = use.farm.submit(spec, tenant=tenant, key=self._key, scale=True)
        teller = telling.teller_of(use, self._request)
        headers = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
        fresh = _json(telling.accepted(use, teller, submitted.job_id, tenant=tenant), headers)
        if self._wait is None:
            return fresh
        ended = partial(_ended, use, teller, submitted.job_id, tenant, headers)
        job = (submitted.job_id, tenant)
        # The client counts from its request, not from when its pictures were fetched and its job was kept.
        earlier_s = EARLIER_S + time.monotonic() - self._began
        return Patient(
            use.hub, use.repository, job, self._wait, accepted=fresh, ended=ended, earlier_s=earlier_s
        )


def refuse_unbuilt(body: PredictionRequest) -> None:
    """What a request may not ask for.

    Raises:
        NotSupported: names the field.
    """
    if body.stream:
        raise NotSupported("stream", "images do not come in pieces", "false, or leave it out")
    if body.webhook_completed is not None:
        raise NotSupported("webhook_completed", "webhook has taken its place", "leave it out")


def webhook_of(body: PredictionRequest) -> JobWebhook | None:
    """Whom the prediction is to tell.

    Raises:
        InvalidInput: a filter without a URL.
    """
    if body.webhook is None:
        if body.webhook_events_filter is not None:
            raise InvalidInput("webhook_events_filter", "has no meaning without webhook", "with webhook")
        return None
    parts = body.webhook_events_filter or PARTS
    events = tuple(dict.fromkeys(event for part in parts for event in PARTS[part]))
    return JobWebhook.model_validate({"url": body.webhook, "events": events, "format": "replicate"})


def _ended(use: Services, teller: Teller, job_id: UUID, tenant: str, headers: dict[str, str]) -> Response:
    return _json(telling.shown(use, teller, job_id, tenant=tenant), headers)


def _json(view: PredictionView, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(view.model_dump(mode="json"), CREATED, headers)
