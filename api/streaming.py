"""Server-sent events of one job: replay from the outbox, then what the hub hands over."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.concurrency import run_in_threadpool

from latentfarm.database import is_away
from latentfarm.events import EventHub
from latentfarm.previews import Preview, Wish
from latentfarm.progress import Progress
from latentfarm.records import Event, Job
from latentfarm.repository.facade import Repository
from latentfarm.repository.replaying import Place
from latentfarm.states import FINAL_JOB, JobState
from latentfarm.views import FINAL_EVENTS

PING_S = 15.0
"""Seconds between two comments that keep proxies from closing the stream; at each the reader's key is looked at."""
MOST_WAITING = 1000
"""Items that a slow reader may be behind; then its stream ends, and it comes back with Last-Event-ID."""
_STEPS_WAITING = 100
_PREVIEWS_WAITING = 10


class Watch:
    """One stream: a bounded queue between the hub's threads and the event loop.

    Args:
        place: where the reader stands, read before this.
        admitted: whether the reader may still read; asked in a thread, every `PING_S`.
        wish: which previews the reader wants.
    """

    def __init__(
        self,
        hub: EventHub,
        repository: Repository,
        job_id: UUID,
        tenant: str,
        place: Place,
        admitted: Callable[[], bool],
        wish: Wish | None = None,
    ) -> None:
        self._hub = hub
        self._repository = repository
        self._job_id = job_id
        self._tenant = tenant
        self._place = place
        self._admitted = admitted
        self._wish = wish
        self._after = place.after
        self._queue: asyncio.Queue[Event | Progress | Preview | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def lines(self) -> AsyncIterator[str]:
        """The stream; ends after the job's last event, with the reader's key, or when the process stops."""
        subscription = self._hub.watch(self._job_id, self._deliver, self._wish)
        try:
            yield "retry: 1000\n\n"
            async for item in self._items():
                yield item
        finally:
            subscription.close()

    async def _items(self) -> AsyncIterator[str]:
        async for row in self._replay():
            yield self._told(row)
            if row.type in FINAL_EVENTS:
                return
        beat = self._loop.time() + PING_S
        while True:
            try:
                item = await asyncio.wait_for(self._queue.get(), max(0.0, beat - self._loop.time()))
            except TimeoutError:
                beat = self._loop.time() + PING_S
                if not await self._may_go_on():
                    yield ": this API key is expired or revoked\n\n"
                    return
                yield ": ping\n\n"
                continue
            if item is None:
                return
            if isinstance(item, Progress | Preview):
                yield _passing(item)
            elif item.id > self._after:
                yield self._told(item)
                if item.type in FINAL_EVENTS:
                    return

    async def _may_go_on(self) -> bool:
        """A database that is away ends no stream: nobody can have revoked the key in it."""
        try:
            return await run_in_threadpool(self._admitted)
        except SQLAlchemyError as error:
            if not (is_away(error) or isinstance(error, PoolTimeoutError)):
                raise
            return True

    def _told(self, row: Event) -> str:
        self._after = max(self._after, row.id)
        return _event(row)

    async def _replay(self) -> AsyncIterator[Event]:
        """Rows that the reader has not seen. Those of a job that has ended end with its last event.

        An end that others follow is left out: the job was opened again, to be repaired or tried again, and a
        reader that was told of an end reads no further.
        """
        # Before the rows: the state and the last row of a job are written in one transaction.
        job = await run_in_threadpool(self._repository.get_job, self._job_id, tenant=self._tenant)
        if job is not None and self._place.named and not self._place.known:
            yield _current(job)
        end, after = None, self._after
        while rows := await run_in_threadpool(self._repository.events, [self._job_id], after=after):
            after = rows[-1].id
            for row in rows:
                end = row if row.type in FINAL_EVENTS else None
                if end is None:
                    yield row
        if end is not None:
            yield end
        elif job is not None and job.state is JobState.RUNNING and not after:
            # It once began, and nobody can tell that any more.
            yield _current(job)
        elif job is not None and job.state in FINAL_JOB:
            # Its last row was seen before, or is older than the outbox keeps rows.
            data = {"state": job.state.value, "failed": job.failed}
            yield Event(0, job.id, f"job.{job.state.value}", data, job.created_at)

    def _deliver(self, item: Event | Progress | Preview | None) -> None:
        """From the hub's threads."""
        # The loop is closed when the process stops before its streams did.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._put, item)

    def _put(self, item: Event | Progress | Preview | None) -> None:
        waiting = self._queue.qsize()
        if isinstance(item, Progress) and waiting >= _STEPS_WAITING:
            return
        if isinstance(item, Preview) and waiting >= _PREVIEWS_WAITING:
            return
        self._queue.put_nowait(item if waiting < MOST_WAITING else None)


def _current(job: Job) -> Event:
    """In place of events that are not there: how the job stands now."""
    data = {
        "state": job.state.value,
        "remaining": job.remaining,
        "failed": job.failed,
        "reason": "events after the one that was named are kept no longer, or there never was such an event",
    }
    return Event(0, job.id, "job.current", data, datetime.now(UTC))


def _event(row: Event) -> str:
    """A row on the wire. Without an id when it was made up from the job's state."""
    number = f"id: {row.id}\n" if row.id else ""
    data = {"job": str(row.job_id), "created_at": row.created_at.isoformat(), **row.data}
    return f"{number}event: {row.type}\ndata: {_json(data)}\n\n"


def _passing(item: Progress | Preview) -> str:
    """What is told once, to whoever is there."""
    kind = "progress" if isinstance(item, Progress) else "preview"
    return f"event: {kind}\ndata: {item.encode()}\n\n"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
