"""What receivers are told of: events, and the facts of a job that stand when one happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from latentfarm.records import Image

STARTED = "job.running"
REFUSED = "dataset.rejected"
EVENTS = (STARTED, "job.succeeded", "job.failed", "job.cancelled", REFUSED)
"""All that a filter may name. They are the farm's own names in every format."""
ENDS = EVENTS[1:]
"""What is told of where no filter says otherwise."""
_DEFAULTS = UUID("6f1f7a52-0e0f-4f5c-9a1b-5a3a1a0b7c9d")


@dataclass(frozen=True, slots=True)
class Told:
    """One event of one job, as one receiver is told of it.

    Attributes:
        id: of the delivery; the same however often it is tried.
        event: one of `EVENTS`.
        at: when it happened.
        job: `id`, `kind`, `state`, `model`, `lane`, `priority`, `seed`, `num_images`, `failed`, `metadata`,
            `dataset` (its name, or None), `created_at`, `started_at`, `finished_at`; as JSON has them, and as they
            stood when it happened. A dataset that was refused has no job: its state is `rejected`, and what it would
            have had is null.
        api_url: where clients find the API.
        picture: `RenderSpec.picture` of the job, prompts and all; for formats that want it, while the job is kept.
        tenant: whose job it is.
        images: the first ones of a job that has ended; for those formats.
        predict: writes the prediction of Replicate's API; for those formats, when it is sent.
    """

    id: UUID
    event: str
    at: datetime
    job: dict[str, Any]
    api_url: str = ""
    picture: dict[str, Any] | None = field(default=None, repr=False)
    tenant: str = ""
    images: tuple[Image, ...] = ()
    predict: Callable[[Told], dict[str, Any]] | None = field(default=None, repr=False)


def wanted(event: str, events: tuple[str, ...]) -> bool:
    """Whether a receiver with this filter is told of an event."""
    return event in (events or ENDS)


def default_id(tenant: str) -> UUID:
    """The id of a tenant's default webhook, which signs what goes to the URLs that jobs name.

    It follows from the name, so that whoever ends a job need not look it up, or wait for who makes it.
    """
    return uuid5(_DEFAULTS, tenant)
