"""An answer that waits for the end of a job, as `Prefer: wait=N` of RFC 7240 asks for.

Whoever waits holds neither a thread nor a connection to the database: the hub that feeds the streams of events says when.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Protocol
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.deadline import PATIENCE
from latentfarm.errors import InvalidInput, LatentfarmError
from latentfarm.events import EventHub
from latentfarm.previews import Preview
from latentfarm.progress import Progress
from latentfarm.records import Event, Job
from latentfarm.states import FINAL_JOB
from latentfarm.views import FINAL_EVENTS

LONGEST_S = 60
"""Seconds that an answer may wait: what lies between does not keep a silent connection for longer."""
APPLIED = "Preference-Applied"
LOOK_S = 2.0
"""Further seconds that it may take to look how the job is; less than the deadline of any answer."""


class Jobs(Protocol):
    """Who knows the state of a job."""

    def get_job(self, job_id: UUID, *, tenant: str) -> Job | None:
        """One job of a tenant."""


def asked_wait(headers: Iterable[str]) -> int | None:
    """Seconds that a client would wait, out of its `Prefer` headers; other preferences are none of ours.

    Raises:
        InvalidInput: it is no number of seconds, or there are several.
    """
    parts = [part.split(";")[0].strip() for header in headers for part in header.split(",")]
    named = [part.partition("=") for part in parts]
    found = [value.strip().strip('"') for name, _, value in named if name.strip().lower() == "wait"]
    if not found:
        return None
    value = found[0]
    plain = value.isascii() and value.isdigit() and len(value) <= 2
    if len(found) > 1 or not plain or not 1 <= int(value) <= LONGEST_S:
        raise InvalidInput("Prefer", "no usable time to wait", f"wait=1 to wait={LONGEST_S}, once")
    return int(value)


class Patient(Response):
    """Sends one answer when a job ends within `seconds`, and another one when it does not.

    Args:
        accepted: the other one; also sent when the process stops.
        ended: makes the one; called in a thread.
        earlier_s: by so much the other one comes before the end of the wait, for clients that hang up then.
    """

    def __init__(
        self,
        hub: EventHub,
        jobs: Jobs,
        job: tuple[UUID, str],
        seconds: int,
        *,
        accepted: Response,
        ended: Callable[[], Response],
        earlier_s: float = 0.0,
    ) -> None:
        super().__init__()
        self._hub = hub
        self._jobs = jobs
        self._job_id, self._tenant = job
        self._seconds = seconds
        self._accepted = accepted
        self._ended = ended
        self._earlier_s = earlier_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One answer."""
        if PATIENCE in scope:
            scope[PATIENCE].seconds += self._seconds
        answer = await self._end(receive) or self._accepted
        answer.headers[APPLIED] = f"wait={self._seconds}"
        await answer(scope, receive, send)

    async def _end(self, receive: Receive) -> Response | None:
        """The answer of a job that has ended; None when it has not, or nobody can tell.

        The job is stored, so that a service that dies or hangs meanwhile must not make an error of it.
        """
        with (
            contextlib.suppress(SQLAlchemyError, LatentfarmError),
            anyio.move_on_after(self._seconds + LOOK_S),
        ):
            if await self._wait(receive):
                return await run_sync(self._ended, abandon_on_cancel=True)
        return None

    async def _wait(self, receive: Receive) -> bool:
        """Whether the job has ended; False too when the client has left, or the process stops."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def deliver(item: Event | Progress | Preview | None) -> None:
            """From the hub's threads."""
            if item is None or (isinstance(item, Event) and item.type in FINAL_EVENTS):
                # The loop is closed when the process stops before its answers did.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(told.set)

        subscription = self._hub.watch(self._job_id, deliver)
        leaving, hearing = asyncio.ensure_future(_left(receive)), asyncio.ensure_future(told.wait())
        try:
            # After the hub watches: what ended before that, nobody tells.
            if await self._is_final():
                return True
            until = max(0.0, self._seconds - self._earlier_s)
            await asyncio.wait({leaving, hearing}, timeout=until, return_when=asyncio.FIRST_COMPLETED)
            return not leaving.done() and await self._is_final()
        finally:
            leaving.cancel()
            hearing.cancel()
            subscription.close()

    async def _is_final(self) -> bool:
        look = functools.partial(self._jobs.get_job, self._job_id, tenant=self._tenant)
        job = await run_sync(look, abandon_on_cancel=True)
        return job is not None and job.state in FINAL_JOB


async def _left(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
