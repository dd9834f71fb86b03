"""Records of webhooks and of what is sent to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from latentfarm.webhooks.told import Told


class Reason(StrEnum):
    """Why a webhook is told nothing."""

    ASKED = "asked"  # its tenant wants it so
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # nothing was taken for days


class DeliveryState(StrEnum):
    """How a delivery stands."""

    DUE = "due"  # it is tried, or will be
    DELIVERED = "delivered"  # it was taken
    FAILED = "failed"  # it was given up; a replay makes it due again


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of a tenant, without its secret.

    Attributes:
        url: None for the tenant's default, which signs what goes to the URLs that jobs name.
        events: that it is told of; empty: the ends of jobs.
        old_until: until when the secret before this one signs too.
        failing_since: the first try that failed since one was taken.
    """

    id: UUID
    tenant: str
    url: str | None
    events: tuple[str, ...]
    format: str
    created_at: datetime
    old_until: datetime | None = None
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver, as the log shows it.

    Attributes:
        url: that the job named; None: the webhook's.
        tries: that failed since it was written, or last replayed.
        due_at: when it is tried next; only while it is due.
        log: its last tries: `at`, `status`, `error`, `ms`.
    """

    id: UUID
    webhook_id: UUID
    job_id: UUID
    type: str
    url: str | None
    state: DeliveryState
    tries: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    log: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that could be tried now.

    Attributes:
        target: webhook, or host of a URL that a job named: tries at it at once are bounded.
    """

    id: UUID
    tenant: str
    target: str


@dataclass(frozen=True, slots=True)
class Post:
    """A delivery that this process tries now.

    Attributes:
        claimed_at: in UTC, by the clock of the database. It is what is signed: receivers refuse what is minutes off, and the clock of the
            machine that sends may be.
        claims: the fence of this try: what comes of it counts only while nobody has claimed it again.
        tries: that failed before.
        signers: secrets that sign, the newest first.
    """

    waiting: Waiting
    webhook_id: UUID
    claimed_at: datetime
    claims: int
    tries: int
    url: str
    format: str
    told: Told
    signers: tuple[str, ...] = field(repr=False)
