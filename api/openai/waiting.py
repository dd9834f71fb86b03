"""A request that waits for its job."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import anyio
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.concurrency import run_in_threadpool

from api.deadline import LATE, PATIENCE
from api.openai.patience import patience_s
from api.openai.requests import MOST_IMAGES
from api.problems import ProblemError
from latentfarm.database import is_away
from latentfarm.errors import LatentfarmError, NotFound
from latentfarm.logs import get_logger
from latentfarm.previews import Preview, Wish
from latentfarm.progress import Progress
from latentfarm.retention import told
from latentfarm.states import FINAL_JOB, RenderState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from fastapi import Request

    from api.deps import Services
    from latentfarm.records import Event, Image, Job

LOOK_S = 5.0
"""Seconds without news after which the job is looked at all the same: news can be lost, jobs cannot."""
GONE_S = 1.0
"""Seconds within which it is noticed that the client has gone."""
_RETRY_S = 1
_PREVIEWS = 4
"""That wait for a slow client, at most."""


@dataclass(frozen=True, slots=True)
class Page:
    """A job and its images, as they are now."""

    job: Job
    images: list[Image]


class Wait:
    """One request and its job. Used as an async context: leaving it before the end gives the job up.

    Args:
        keyed: whether the request has an Idempotency-Key. Such a job is not given up: whoever comes again
            with the key wants it. Without one nobody could ask for its images again.
        previews: of each image, at most, evenly spread over its steps.
        streamed: whether the answer begins at once: a client's own limit is for silence then, and there is none.

    Attributes:
        wished: how many previews of each image.
        previews: that came and were not sent yet; of many the last ones.
    """

    def __init__(
        self,
        use: Services,
        request: Request,
        job_id: UUID,
        *,
        tenant: str,
        keyed: bool,
        previews: int = 0,
        streamed: bool = False,
    ) -> None:
        self._use = use
        self._request = request
        self._tenant = tenant
        self._keyed = keyed
        self.wished = previews
        self.job_id = job_id
        self.previews: deque[Preview] = deque(maxlen=_PREVIEWS)
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._ended = False
        most_s = use.settings.openai_wait_s
        self._limit_s = most_s if streamed else patience_s(request.headers, most_s)
        self._until = self._loop.time() + self._limit_s

    async def __aenter__(self) -> Self:
        if PATIENCE in self._request.scope:
            self._request.scope[PATIENCE].seconds += self._limit_s
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ended or self._keyed:
            return
        # Whatever ends the request: a client that has gone has had this task cancelled.
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(self._give_up)

    def _give_up(self) -> None:
        get_logger().info("request_given_up", job=str(self.job_id))
        with contextlib.suppress(SQLAlchemyError, LatentfarmError):
            self._use.farm.cancel(self.job_id, tenant=self._tenant)

    async def pages(self) -> AsyncGenerator[Page | None]:
        """The job whenever there is news of it, and at last as it ended; None: nothing new for `LOOK_S`.

        Raises:
            ProblemError: the time is over, the process stops, nobody waits any more, or the images are kept no longer.
        """
        wish = Wish(shares=self.wished) if self.wished else None
        subscription = self._use.hub.watch(self.job_id, self._deliver, wish)
        try:
            while True:
                self._news.clear()
                page = await self._look()
                self._ended = page is not None and page.job.state in FINAL_JOB
                if page is not None and page.job.gone_at is not None:
                    raise final(
                        HTTPStatus.GONE, "gone", told(f"the images of job {self.job_id}", page.job.gone_at)
                    )
                yield page
                if self._ended:
                    return
                await self._wait()
        finally:
            subscription.close()

    async def ended(self) -> Page:
        """The job once it has ended, with all of its images.

        Raises:
            ProblemError: as `pages`; or it did not end well.
        """
        last: Page | None = None
        async with contextlib.aclosing(self.pages()) as pages:
            async for page in pages:
                last = page or last
        if last is None:
            raise NotFound(f"no job {self.job_id}")
        check(last)
        return last

    async def _look(self) -> Page | None:
        """None while the database is away: the job is still what it was."""
        try:
            found = await run_in_threadpool(
                self._use.repository.job_page, self.job_id, tenant=self._tenant, first=0, limit=MOST_IMAGES
            )
        except SQLAlchemyError as error:
            if not (is_away(error) or isinstance(error, PoolTimeoutError)):
                raise
            return None
        if found is None:
            raise NotFound(f"the job {self.job_id} of this request was removed")
        job, _, images = found
        return Page(job, images)

    async def _wait(self) -> None:
        """Until there is news, or `LOOK_S` are over."""
        look = self._loop.time() + LOOK_S
        while not self._news.is_set() and self._loop.time() < look:
            left_s = max(0.0, min(GONE_S, self._until - self._loop.time()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left_s)
            await self._check()

    async def _check(self) -> None:
        if self._stopping:
            detail = "this API process stops; another one answers"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", detail, retry_s=_RETRY_S)
        if self._request.scope.get(LATE) or await self._request.is_disconnected():
            raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "client_gone", "nobody waits for this any more")
        if self._loop.time() >= self._until:
            raise self._too_late()

    def _too_late(self) -> ProblemError:
        waited = f"not done within {self._limit_s:g} s"
        if self._keyed:
            detail = f"{waited}; the job goes on: ask again with the same Idempotency-Key"
            return ProblemError(HTTPStatus.GATEWAY_TIMEOUT, "too_late", detail, retry_s=_RETRY_S)
        detail = (
            f"{waited}, and given up; POST /v1/jobs has no such limit, an Idempotency-Key lets the job go on"
        )
        return final(HTTPStatus.GATEWAY_TIMEOUT, "too_late", detail)

    def _deliver(self, item: Event | Progress | Preview | None) -> None:
        """From the hub's threads."""
        if isinstance(item, Progress):
            return
        # The loop is closed when the process stops before its requests did.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._told, item)

    def _told(self, item: Event | Preview | None) -> None:
        self._stopping = self._stopping or item is None
        if isinstance(item, Preview):
            self.previews.append(item)
        self._news.set()


def check(page: Page) -> None:
    """Whether a job that has ended ended well.

    Raises:
        ProblemError: 500 with the reason of the first image that failed, 409 for a job that was cancelled.
    """
    job = page.job
    failed = [image for image in page.images if image.state is RenderState.FAILED]
    if failed:
        first = f"image {failed[0].index} of job {job.id} failed: {failed[0].error}"
        many = f" ({len(failed)} of {job.num_images} images failed)" if job.num_images > 1 else ""
        raise final(HTTPStatus.INTERNAL_SERVER_ERROR, "render_failed", first + many)
    if any(image.state is not RenderState.SUCCEEDED for image in page.images):
        raise final(HTTPStatus.CONFLICT, "cancelled", f"job {job.id} was cancelled")


def final(status: int, code: str, detail: str) -> ProblemError:
    """An answer that no repetition changes; OpenAI's clients heed the header."""
    problem = ProblemError(status, code, detail)
    problem.headers["x-should-retry"] = "false"
    return problem
