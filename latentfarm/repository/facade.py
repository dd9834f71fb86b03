"""`Repository`: the statements of this package, each in a transaction of its own."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import psycopg.errors
from sqlalchemy.exc import OperationalError

from latentfarm.database import CHANNEL_WORK, notify, transact
from latentfarm.errors import Conflict
from latentfarm.repository import (
    accepting,
    cancelling,
    deleting,
    dispatching,
    failing,
    inputs,
    picking,
    reading,
    refining,
    sources,
    submitting,
    tenancy,
    working,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection, Engine, RowMapping

    from latentfarm.messages import Pair
    from latentfarm.quotas import Ask
    from latentfarm.records import Event, Image, Job, Pick, Picked, Queue, Refinement, Shape, Source
    from latentfarm.spec import RenderSpec
    from latentfarm.states import RenderState, Stage

T = TypeVar("T")


@contextmanager
def _lock_timeout(message: str) -> Iterator[None]:
    """Turns a lock that was not to be had in 2 s into Conflict."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise Conflict(message) from error
        raise


class Repository:
    """All records of the farm. Thread-safe; every method commits before it returns."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def transact(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        """Runs several statements in one transaction; or a `single` one, which needs no other round trips."""
        return transact(self.engine, work, single=single)

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
        """Stores a job with its renders, or finds that its Idempotency-Key came before.

        Args:
            window_per_worker: dispatch the renders in the same transaction, while there is room for them and
                nothing else waits in their queue; None: leave them to `pick`.
            asks: what the job counts against the tenant's quotas.

        Returns:
            (queue id, None) for a new job, or what is to be sent in place of the id; (None, (fingerprint,
            job id)) for a known key.

        Raises:
            Conflict: a request with the same key is still at it after 2 s.
        """
        if key is None and accepting.is_plain(spec):
            alone = partial(
                accepting.store_alone, job_id=job_id, spec=spec, tenant=tenant, least=window_per_worker
            )
            stored = self.transact(alone, single=True)
            if stored is not None:
                return stored, None

        def add(connection: Connection) -> int | Picked:
            return accepting.store(
                connection, job_id, spec, tenant=tenant, least=window_per_worker, asks=asks
            )

        return self._once(add, job_id, tenant, key, fingerprint)

    def add_refined(
        self,
        job_id: UUID,
        wanted: Refinement,
        *,
        tenant: str,
        key: str | None = None,
        fingerprint: bytes = b"",
        asks: Callable[[], Ask] | None = None,
    ) -> tuple[int | None, tuple[bytes, UUID] | None]:
        """See `refining.add_refined`; answers and conflicts as `add_job`."""

        def add(connection: Connection) -> int:
            return refining.add_refined(connection, job_id, wanted, tenant=tenant, asks=asks)

        return self._once(add, job_id, tenant, key, fingerprint)

    def _once(
        self,
        add: Callable[[Connection], T],
        job_id: UUID,
        tenant: str,
        key: str | None,
        fingerprint: bytes,
    ) -> tuple[T | None, tuple[bytes, UUID] | None]:
        def work(connection: Connection) -> tuple[T | None, tuple[bytes, UUID] | None]:
            if key is not None:
                known = submitting.remember_key(connection, tenant, key, fingerprint, job_id)
                if known is not None:
                    return None, known
            return add(connection), None

        with _lock_timeout("the first request with this Idempotency-Key has not ended yet"):
            return self.transact(work)

    def sources(self, job_id: UUID, kind: str, indices: Sequence[int] | None) -> list[Source]:
        """See `sources.find`."""
        return self.transact(lambda c: sources.find(c, job_id, kind, indices))

    def shape_of(self, sha256: bytes) -> Shape | None:
        """The shape of an input, while it is kept. The caller knows that the tenant has it."""
        found = self.transact(lambda c: inputs.find(c, sha256, tenant="", known=True))
        return None if found is None else found.shape

    def known_key(self, tenant: str, key: str) -> tuple[bytes, UUID] | None:
        """Fingerprint and job of an Idempotency-Key, if it came before."""
        return self.transact(lambda c: submitting.known_key(c, tenant, key))

    def get_job(self, job_id: UUID, *, tenant: str) -> Job | None:
        """See `reading.get_job`."""
        return self.transact(lambda c: reading.get_job(c, job_id, tenant=tenant))

    def images(self, job_id: UUID, *, first: int = 0, limit: int = 1000) -> list[Image]:
        """See `reading.images`."""
        return self.transact(lambda c: reading.images(c, job_id, first=first, limit=limit))

    def job_page(
        self, job_id: UUID, *, tenant: str, first: int, limit: int
    ) -> tuple[Job, dict[RenderState, int], list[Image]] | None:
        """A job, its images by state, and some of them. A final job has final images only."""

        def work(connection: Connection) -> tuple[Job, dict[RenderState, int], list[Image]] | None:
            job = reading.get_job(connection, job_id, tenant=tenant)
            if job is None:
                return None
            counts = reading.count_states(connection, job_id)
            return job, counts, reading.images(connection, job_id, first=first, limit=limit)

        return self.transact(work)

    def image(self, job_id: UUID, *, tenant: str, index: int) -> Image | None:
        """One image, or None when the tenant has no such job or the job no such image."""

        def work(connection: Connection) -> Image | None:
            if (job := reading.get_job(connection, job_id, tenant=tenant)) is None:
                return None
            found = reading.images(connection, job_id, first=index, limit=1)
            return dataclasses.replace(found[0], gone_at=job.gone_at) if found else None

        return self.transact(work)

    def events(self, jobs: Sequence[UUID], *, after: int) -> list[Event]:
        """See `reading.events`."""
        return self.transact(lambda c: reading.events(c, jobs, after=after))

    def live_counts(self) -> list[tuple[str, Any, int]]:
        """See `reading.live_counts`."""
        return self.transact(reading.live_counts)

    def live_workers(self) -> list[RowMapping]:
        """See `reading.live_workers`."""
        return self.transact(reading.live_workers)

    def worker_ends(self) -> dict[str, int]:
        """See `reading.worker_ends`."""
        return self.transact(reading.worker_ends)

    def mark_cancelled(self, job_id: UUID, *, tenant: str) -> bool:
        """See `cancelling.mark_cancelled`."""
        return self.transact(lambda c: cancelling.mark_cancelled(c, job_id, tenant=tenant))

    def cancel_renders(self, job_id: UUID) -> int:
        """See `cancelling.cancel_renders`."""
        return self.transact(lambda c: cancelling.cancel_renders(c, job_id))

    def mark_deleted(self, job_id: UUID, *, tenant: str) -> bool:
        """See `deleting.mark_deleted`."""
        return self.transact(lambda c: deleting.mark_deleted(c, job_id, tenant=tenant))

    def pause_job(self, job_id: UUID, *, tenant: str, paused: bool) -> bool:
        """See `tenancy.pause_job`; tells the scheduler, should there be something to send again."""

        def work(connection: Connection) -> bool:
            changed = tenancy.pause_job(connection, job_id, tenant=tenant, paused=paused)
            if changed and not paused:
                notify(connection, CHANNEL_WORK, "")
            return changed

        return self.transact(work)

    def queues(self) -> list[Queue]:
        """See `dispatching.queues`."""
        return self.transact(dispatching.queues)

    def pick(self, queue: Queue, *, window_per_worker: int) -> Picked:
        """See `picking.fill`."""
        with _lock_timeout(f"another dispatcher holds {queue.name}"):
            return self.transact(lambda c: picking.fill(c, queue, least=window_per_worker))

    def count_dispatched(self, queue: Queue) -> int:
        """See `dispatching.count_dispatched`."""
        return self.transact(lambda c: dispatching.count_dispatched(c, queue.id))

    def take_lost(self, queue: Queue, *, after_s: float, room: int) -> list[Pick]:
        """See `dispatching.take_lost`; under the queue's lock."""

        def work(connection: Connection) -> list[Pick]:
            dispatching.lock_queue(connection, queue.id)
            return dispatching.take_lost(connection, queue.id, after_s=after_s, room=room)

        with _lock_timeout(f"another dispatcher holds {queue.name}"):
            return self.transact(work)

    def register(
        self,
        *,
        host: str,
        pid: int,
        device: str,
        stages: Sequence[Stage],
        models: Sequence[str],
        lease_s: float,
    ) -> int:
        """See `working.register`; makes the queues that the incarnation will consume."""

        def work(connection: Connection) -> int:
            return working.register(
                connection, host=host, pid=pid, device=device, stages=stages, models=models, lease_s=lease_s
            )

        return self.transact(work)

    def renew(self, worker: int, *, lease_s: float) -> bool:
        """See `working.renew`."""
        return self.transact(lambda c: working.renew(c, worker, lease_s=lease_s))

    def mark_ready(self, worker: int, info: dict[str, Any]) -> None:
        """See `working.mark_ready`."""
        self.transact(lambda c: working.mark_ready(c, worker, info))

    def end_worker(self, worker: int, reason: str) -> list[int]:
        """Ends an incarnation and takes back what it was running; returns the renders."""

        def work(connection: Connection) -> list[int]:
            working.end(connection, [worker], reason)
            dispatching.expect_losses(connection, [worker])
            return failing.rescue(connection, [worker], reason)

        return self.transact(work)

    def rescue_expired(self, *, lease_s: float) -> tuple[list[int], list[int]]:
        """See `failing.rescue_expired`."""
        return self.transact(lambda c: failing.rescue_expired(c, lease_s=lease_s))

    def owned(self, worker: int, counters: dict[str, Any]) -> tuple[set[Pair], list[str] | None]:
        """Stores the counters of an incarnation; what SQL says it is running, and is to hold (None: it has ended)."""

        def work(connection: Connection) -> tuple[set[Pair], list[str] | None]:
            assigned = working.report(connection, worker, counters)
            return working.owned(connection, worker), assigned

        return self.transact(work)
