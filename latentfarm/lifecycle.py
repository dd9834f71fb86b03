"""What happens to jobs on behalf of users: submit and cancel. Commit first, then send."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from latentfarm.dispatch import WINDOW, Records, dispatch, send
from latentfarm.errors import (
    Conflict,
    IdempotencyMismatch,
    NotFound,
    NotSupported,
    ServiceUnavailable,
)
from latentfarm.inputs.target import read_target
from latentfarm.mode_rules import fit_pictures
from latentfarm.quotas import ask_of
from latentfarm.records import Picked
from latentfarm.spec import SEED_RANGE
from latentfarm.states import Lane
from latentfarm.validation import complete

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from latentfarm.broker import Sender
    from latentfarm.quotas import Ask
    from latentfarm.records import Job, Queue, Shape
    from latentfarm.registry import ModelEntry, Registry
    from latentfarm.spec import RenderSpec


class JobRecords(Records, Protocol):
    """What these use cases need of SQL, besides what dispatch needs."""

    def add_job(
        self,
        job_id: UUID,
        spec: RenderSpec,
        *,
        tenant: str,
        key: str | None = None,
        fingerprint: bytes = b"",
        window_per_worker: int | None = None,
        asks: Callable[[], Ask] | None = None,
    ) -> tuple[int | Picked | None, tuple[bytes, UUID] | None]:
        """Stores a job, or finds whose the key is; dispatches its renders too where a window is given."""

    def known_key(self, tenant: str, key: str) -> tuple[bytes, UUID] | None:
        """Fingerprint and job of an Idempotency-Key, if it came before."""

    def queues(self) -> list[Queue]:
        """All queues."""

    def get_job(self, job_id: UUID, *, tenant: str) -> Job | None:
        """One job of a tenant."""

    def mark_cancelled(self, job_id: UUID, *, tenant: str) -> bool:
        """Writes down that the job is unwanted."""

    def cancel_renders(self, job_id: UUID) -> int:
        """Ends its live renders."""

    def mark_deleted(self, job_id: UUID, *, tenant: str) -> bool:
        """Takes its results out of reach; whether some of it may still be at work."""


class Pictures(Protocol):
    """Who fetches and keeps the pictures that specs name."""

    def resolve(
        self,
        spec: RenderSpec,
        *,
        tenant: str,
        fit: Callable[[RenderSpec, dict[str, Shape]], RenderSpec],
        brought: Mapping[bytes, bytes] | None = None,
        keep: bool = True,
    ) -> RenderSpec:
        """The spec with digests in place of references; keeps nothing that `fit` refuses, and without `keep` nothing."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """`replayed`: the Idempotency-Key came before with the same body, and this is the job of then."""

    job_id: UUID
    replayed: bool


@dataclass(frozen=True, slots=True)
class Farm:
    """What the use cases stand on.

    Attributes:
        new_id: a parameter so that tests can count ids.
        pictures: only needed for specs that start from one.
        retain_days: of jobs that do not say how long their images are kept; None: for ever.
        reachable: refuses URLs, under the name of a field, that a webhook can never be sent to.
        known: queues that were seen before, by id: none is ever removed, and none becomes another.
        hurry: called after a commit with what was picked, or with a queue's id, and must not wait: somebody
            else then calls `send_now`. Without it `submit` does so itself, and is as slow as Redis is.
    """

    records: JobRecords
    sender: Sender
    registry: Registry
    new_id: Callable[[], UUID]
    hurry: Callable[[int | Picked], None] | None = None
    pictures: Pictures | None = None
    retain_days: float | None = None
    reachable: Callable[[str, str], object] = read_target
    known: dict[int, Queue] = field(default_factory=dict)

    def submit(
        self,
        spec: RenderSpec,
        *,
        tenant: str = "",
        key: str | None = None,
        brought: Mapping[bytes, bytes] | None = None,
        scale: bool = False,
    ) -> Submitted:
        """Validates a spec, stores the job, and sends its first renders when they are interactive.

        Args:
            brought: pictures that came with the request, by the SHA-256 that the spec names them by.
            scale: see `fit_pictures`.

        Raises:
            InvalidInput: the spec does not fit its model, its pictures are not there or do not fit it, or
                the key came before with another body.
            TooMuchQueued: as much of the tenant waits, is in flight or is kept as may be.
        """
        fingerprint = _fingerprint(spec)
        full = self._complete(spec)
        if full.image is not None or full.mask_image is not None:
            # Before anything is fetched: what came by an upload or a URL may be gone when a key comes again.
            if key is not None and (before := self.records.known_key(tenant, key)) is not None:
                return replayed(before, fingerprint)
            full = self._with_pictures(full, tenant, brought, scale=scale)
        if full.seed is None:
            full = full.model_copy(update={"seed": secrets.randbelow(SEED_RANGE)})
        full = self.with_term(full)
        job_id = self.new_id()
        # An interactive job leaves the backlog in the same transaction, where there is room.
        window = WINDOW if full.lane is Lane.INTERACTIVE else None
        stored, known = self.records.add_job(
            job_id,
            full,
            tenant=tenant,
            key=key,
            fingerprint=fingerprint,
            window_per_worker=window,
            asks=partial(ask_of, full, self.registry.get(full.model)),
        )
        return self.accepted(job_id, full.lane, stored, known, fingerprint)

    def _complete(self, spec: RenderSpec) -> RenderSpec:
        if spec.webhook is not None:
            self.reachable("webhook.url", spec.webhook.url)
        return complete(spec, self.registry.get(spec.model))

    def with_term(self, spec: RenderSpec) -> RenderSpec:
        """The spec with the farm's term where it has none. Stored: what a user was told when it was taken, holds."""
        if spec.retain_days is not None or self.retain_days is None:
            return spec
        return spec.model_copy(update={"retain_days": self.retain_days})

    def accepted(
        self,
        job_id: UUID,
        lane: Lane,
        stored: int | Picked | None,
        known: tuple[bytes, UUID] | None,
        fingerprint: bytes,
    ) -> Submitted:
        """What follows once the records have answered: a new job is sent, or a known one told of."""
        if known is not None:
            return replayed(known, fingerprint)
        if lane is Lane.INTERACTIVE and stored is not None:
            (self.hurry or self.send_now)(stored)
        return Submitted(job_id, replayed=False)

    def examine(self, spec: RenderSpec, *, tenant: str = "", key: str | None = None) -> RenderSpec:
        """The spec as `submit` would store it, but for a seed that would be drawn; stores nothing.

        Raises:
            InvalidInput: as of `submit`.
        """
        full = self._complete(spec)
        if key is not None and (before := self.records.known_key(tenant, key)) is not None:
            replayed(before, _fingerprint(spec))
        if full.image is None and full.mask_image is None:
            return self.with_term(full)
        return self.with_term(self._with_pictures(full, tenant, keep=False))

    def _with_pictures(
        self,
        spec: RenderSpec,
        tenant: str,
        brought: Mapping[bytes, bytes] | None = None,
        *,
        keep: bool = True,
        scale: bool = False,
    ) -> RenderSpec:
        if self.pictures is None:
            raise NotSupported("image", "this farm keeps no pictures", "leave it out")
        fit = partial(_fit, self.registry.get(spec.model), scale)
        return self.pictures.resolve(spec, tenant=tenant, fit=fit, brought=brought, keep=keep)

    def send_now(self, stored: int | Picked) -> None:
        """Saves the scheduler's reaction time. Not needed: what fails here the scheduler does.

        Args:
            stored: what was picked, or the id of a queue to pick from.
        """
        with suppress(Conflict, ServiceUnavailable):
            if isinstance(stored, Picked):
                send(self.sender, stored)
                return
            if stored not in self.known:
                self.known.update({queue.id: queue for queue in self.records.queues()})
            if stored in self.known:
                dispatch(self.records, self.sender, self.known[stored])

    def cancel(self, job_id: UUID, *, tenant: str = "") -> Job:
        """Takes a job back, wherever its renders are; a job that has ended stays as it is.

        Raises:
            NotFound: the tenant has no such job.
        """
        if self.records.mark_cancelled(job_id, tenant=tenant):
            self.records.cancel_renders(job_id)
        job = self.records.get_job(job_id, tenant=tenant)
        if job is None:
            raise NotFound(f"no job {job_id}")
        return job

    def delete(self, job_id: UUID, *, tenant: str = "") -> None:
        """Throws a job away, whatever its state: what lives is cancelled, results go, the record stays.

        Raises:
            NotFound: the tenant has no such job.
            NotSupported: it is that of a dataset.
        """
        if self.records.mark_deleted(job_id, tenant=tenant):
            self.records.cancel_renders(job_id)


def _fingerprint(spec: RenderSpec) -> bytes:
    """Of a body. Without defaults: a key must be known again by a release whose specs have more fields."""
    return hashlib.sha256(spec.model_dump_json(exclude_defaults=True).encode()).digest()


def replayed(known: tuple[bytes, UUID], fingerprint: bytes) -> Submitted:
    """The answer to an Idempotency-Key that came before.

    Raises:
        IdempotencyMismatch: it came with another body.
    """
    if known[0] != fingerprint:
        raise IdempotencyMismatch("Idempotency-Key", "this key came before with another body")
    return Submitted(known[1], replayed=True)


def _fit(entry: ModelEntry, scale: bool, spec: RenderSpec, shapes: dict[str, Shape]) -> RenderSpec:
    sizes = {field: (shape.height, shape.width) for field, shape in shapes.items()}
    return fit_pictures(spec, entry, sizes["image"], sizes.get("mask_image"), scale=scale)
