"""Webhooks on the wire: what is asked, and what is told of them and of what was sent."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import Literal
from uuid import UUID  # noqa: TC003 - pydantic needs the type at run time

from pydantic import AwareDatetime, Field

from latentfarm.spec import StrictModel
from latentfarm.views import View
from latentfarm.webhooks.wish import Event, Events, FormatName, Url  # noqa: TC001 - the same

MOST_HOURS = 720
"""Hours for which the secret before signs beside the new one."""
_EVENTS = (
    "What it is told of: `job.running`, `job.succeeded`, `job.failed`, `job.cancelled`, `dataset.rejected`; when empty:"
    " of all but `job.running`."
)
_FORMAT = "Words of the payload: `native`; `openai` tells of datasets alone, as batches."
State = Literal["due", "delivered", "failed"]


class WebhookRequest(StrictModel):
    """A webhook that is wanted."""

    url: Url = Field(description="An https URL on port 443 of a public server.")
    events: Events = Field((), description=_EVENTS)
    format: FormatName = Field("native", description=_FORMAT)


class WebhookChange(StrictModel):
    """What is to be other than it is; what is left out stays."""

    url: Url = Field("", description="An https URL on port 443 of a public server.")
    events: Events = Field((), description=_EVENTS)
    format: FormatName = Field("native", description=_FORMAT)
    enabled: bool = Field(
        True, description="Whether it is told anything. What was due when it was disabled is given up."
    )


class SecretRotation(StrictModel):
    """How a secret is to be replaced."""

    overlap_hours: int = Field(
        24, ge=0, le=MOST_HOURS, description="Hours for which the old secret signs beside the new one."
    )


class ReplayRequest(StrictModel):
    """Which deliveries are to be made again."""

    since: AwareDatetime = Field(description="Those of events at or after this time.")
    until: AwareDatetime | None = Field(None, description="And before this one; now when absent.")
    state: Literal["delivered", "failed"] | None = Field(
        "failed", description="Those that ended so; null: all that have ended."
    )


class WebhookView(View):
    """A webhook, without its secret."""

    object: Literal["webhook"] = "webhook"
    id: UUID = Field(description="Names it.")
    url: str | None = Field(description="Where it is told; null for `default`, which jobs give URLs.")
    events: list[Event] = Field(description="What it is told of; empty: of all but `job.running`.")
    format: str = Field(description="Words of the payload.")
    created_at: datetime = Field(description="When it was made.")
    old_until: datetime | None = Field(description="Until when the secret before this one signs too.")
    failing_since: datetime | None = Field(description="Since when nothing that was sent was taken.")
    disabled_at: datetime | None = Field(description="Since when it is told nothing.")
    disabled_reason: Literal["asked", "gone", "failing"] | None = Field(
        description="`asked`; `gone`: it answered 410; `failing`: nothing was taken for days."
    )


class WebhookCreated(WebhookView):
    """A webhook with its new secret, for the only time."""

    secret: str = Field(description="What payloads are signed with: `whsec_...`. Keep it safe.")


class WebhookList(View):
    """All webhooks of a tenant, in the order in which they were made."""

    object: Literal["list"] = "list"
    data: list[WebhookView] = Field(description="At most 20.")


class SecretView(View):
    """What signs the webhooks of jobs. `key` as Replicate's clients read it."""

    key: str = Field(description="The secret: `whsec_...`.")


class TryView(View):
    """One try at a delivery."""

    at: datetime = Field(description="When it ended.")
    status: int | None = Field(description="HTTP status of the answer; null: there was none.")
    error: str | None = Field(description="Why it failed; null: it was taken.")
    ms: int = Field(description="Milliseconds that it took.")


class DeliveryView(View):
    """One event for one receiver."""

    object: Literal["delivery"] = "delivery"
    id: UUID = Field(description="Names it.")
    webhook_id: str = Field(description="Its header `webhook-id`, the same for every try.")
    job: UUID = Field(description="The job that the event is of.")
    type: str = Field(description="The event, in the words of the format.")
    url: str | None = Field(description="That the job named; null: the webhook's.")
    state: State = Field(description="`due`: it is tried or will be; `delivered`; `failed`: it was given up.")
    tries: int = Field(description="That failed since it was written, or replayed.")
    created_at: datetime = Field(description="When the event happened.")
    next_try_at: datetime | None = Field(description="When it is tried next; only while it is due.")
    ended_at: datetime | None = Field(description="When it was delivered or given up.")
    log: list[TryView] = Field(description="Its last tries, oldest first; at most 20.")


class DeliveryList(View):
    """A page of deliveries, newest first."""

    object: Literal["list"] = "list"
    data: list[DeliveryView] = Field(description="The deliveries of this page.")
    next_cursor: str | None = Field(None, description="Give it as `after` to read on; null on the last page.")


class Replayed(View):
    """What a replay of a time has made due again."""

    object: Literal["replay"] = "replay"
    count: int = Field(description="Deliveries that are due again.")
