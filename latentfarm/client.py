"""The Python client. Synchronous; needs nothing but the spec and httpx."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from latentfarm import client_events, client_images, client_inputs
from latentfarm.client_datasets import Datasets
from latentfarm.client_fleet import Fleet
from latentfarm.client_http import Http
from latentfarm.client_tenants import Tenants
from latentfarm.client_webhooks import Webhooks
from latentfarm.explain import explain
from latentfarm.quote_views import JobQuote
from latentfarm.refinement import RefineRequest
from latentfarm.spec import RenderSpec
from latentfarm.views import (
    AttemptList,
    AttemptView,
    EventView,
    ImageView,
    JobList,
    JobSummary,
    JobView,
    ModelList,
    ModelView,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

M = TypeVar("M", bound=BaseModel)
DEFAULT_URL = "http://127.0.0.1:8400"
_POLL_S = (0.1, 1.0)


class Client:
    """Speaks to one API. Safe to use from several threads.

    Args:
        base_url: the API; LATENTFARM_API_URL, or http://127.0.0.1:8400, when absent.
        timeout: seconds for one answer.
        retry_s: seconds for which a request is repeated while the API is away. No repeated submit makes
            a second job.
        key: an API key; LATENTFARM_API_KEY, or none, when absent.

    Attributes:
        datasets: what there is to do with datasets.
        fleet: workers and queues, for whoever operates the farm.
        tenants: what there is to do with tenants, for who runs the farm.
        webhooks: who is told of the end of jobs.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout: float = 30.0,
        retry_s: float = 30.0,
        key: str | None = None,
    ) -> None:
        url = base_url or os.environ.get("LATENTFARM_API_URL") or DEFAULT_URL
        secret = key or os.environ.get("LATENTFARM_API_KEY") or None
        self._http = Http(url, timeout_s=timeout, retry_s=retry_s, key=secret)
        self.datasets = Datasets(self._http)
        self.fleet = Fleet(self._http)
        self.tenants = Tenants(self._http)
        self.webhooks = Webhooks(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.client.close()

    def submit(
        self,
        spec: RenderSpec | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        wait_s: int | None = None,
    ) -> JobView:
        """Hands in a job, and returns as soon as it is kept.

        Args:
            idempotency_key: the same key and spec again give the same job again; drawn when absent.
            wait_s: returns when the job has ended, or after so many seconds, 1 to 60.

        Raises:
            InvalidInput: names the field and what is allowed; nothing was stored.
            ServiceUnavailable: the API was away for `retry_s`.
        """
        return self._hand_in("/v1/jobs", _read(RenderSpec, spec), idempotency_key, wait_s)

    def quote(self, spec: RenderSpec | Mapping[str, Any]) -> JobQuote:
        """What a job would take; stores nothing.

        Raises:
            InvalidInput: as of `submit`.
        """
        content = _read(RenderSpec, spec).model_dump_json(exclude_unset=True)
        headers = {"Content-Type": "application/json"}
        dry = {"dry_run": "true"}
        answer = self._http.request("POST", "/v1/jobs", params=dry, content=content, headers=headers)
        return JobQuote.model_validate_json(answer.content)

    def refine(
        self,
        job: JobSummary | uuid.UUID | str,
        request: RefineRequest | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> JobView:
        """Refines images of a job again, without its base stage: a new job, kept when this returns.

        Args:
            request: what is to be other than in the job; all of its images, from the latents that its
                base left or else from the finished images, when absent.
            idempotency_key: as for `submit`.

        Raises:
            InvalidInput: names the field and what is allowed; nothing was stored.
            NotFound: there is no such job.
            SourceGone: latents or images are not there; its `code` says why.
            Conflict: the job is still at work on them.
            ServiceUnavailable: the API was away for `retry_s`.
        """
        body = _read(RefineRequest, {} if request is None else request)
        return self._hand_in(f"{_path(job)}/refine", body, idempotency_key)

    def _hand_in(self, path: str, body: BaseModel, key: str | None, wait_s: int | None = None) -> JobView:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key or str(uuid.uuid4())}
        given: dict[str, Any] = {"content": body.model_dump_json(exclude_unset=True), "headers": headers}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
            given["timeout"] = (self._http.client.timeout.read or 0.0) + wait_s
        response = self._http.request("POST", path, **given)
        return JobView.model_validate_json(response.content)

    def upload(self, picture: str | Path | bytes) -> str:
        """Uploads a picture; the id that comes back is for `image` or `mask_image` of a spec.

        Args:
            picture: a path, or the bytes of a PNG, JPEG or WebP file of at most 20 MiB and 16 megapixels.

        Raises:
            InvalidInput: the file cannot be read, or is too large.
            ServiceUnavailable: the API or the object store was away for `retry_s`.
        """
        return client_inputs.upload(self._http, picture)

    def get(
        self, job: JobSummary | uuid.UUID | str, *, images_from: int = 0, images: int | None = None
    ) -> JobView:
        """A job as it is now, with a page of its images from `images_from` on, of at most `images`."""
        parameters = {"images_from": images_from} | ({} if images is None else {"images_limit": images})
        response = self._http.request("GET", _path(job), params=parameters)
        return JobView.model_validate_json(response.content)

    def list(self, *, limit: int = 20, after: str | None = None, **wanted: Any) -> JobList:
        """A page of jobs, newest first; `after` is the `next_cursor` of the page before.

        Args:
            wanted: `state` (or several), `lane`, `model`, `kind`, and `created_after` and `created_before` as ISO 8601. A
                page may then be short, or empty, though `has_more` says that there are further ones.
        """
        given = {"after": after, **wanted}
        parameters = {"limit": limit} | {name: value for name, value in given.items() if value is not None}
        return JobList.model_validate_json(self._http.request("GET", "/v1/jobs", params=parameters).content)

    def cancel(self, job: JobSummary | uuid.UUID | str) -> JobView:
        """Takes a job back; one that has ended stays as it is."""
        return JobView.model_validate_json(self._http.request("POST", f"{_path(job)}/cancel").content)

    def retry(self, job: JobSummary | uuid.UUID | str) -> JobView:
        """Tries the failed images of a job that has ended again, and no other.

        Raises:
            Ended: none has failed, the job was cancelled, or its images are kept no longer.
            SourceGone: what they would start from is kept no longer.
            Conflict: the job is still at work.
        """
        return JobView.model_validate_json(self._http.request("POST", f"{_path(job)}/retry").content)

    def delete(self, job: JobSummary | uuid.UUID | str) -> None:
        """Throws a job away, whatever its state: its images go for good, and so do its prompts."""
        self._http.request("DELETE", _path(job))

    def models(self) -> tuple[ModelView, ...]:
        """The models that specs may name."""
        return tuple(ModelList.model_validate_json(self._http.request("GET", "/v1/models").content).data)

    def events(
        self, job: JobSummary | uuid.UUID | str, *, after: int | None = None, previews: int | None = None
    ) -> Iterator[EventView]:
        """States and steps of a job until it has ended, also over lost connections: no state is left out or told twice.

        Args:
            after: `id` of the last event that was read before.
            previews: after every so many steps an event `preview` with what an image looks like by then; lossy.
        """
        return client_events.follow(self._http, f"{_path(job)}/events", after, previews)

    def wait(self, job: JobSummary | uuid.UUID | str, *, timeout: float | None = None) -> JobView:
        """Returns the job once it has ended, however it ended.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause_s, longest_s = _POLL_S
        while not (now := self.get(job, images=0)).is_final:
            if end is not None and time.monotonic() + pause_s > end:
                raise TimeoutError(f"job {now.id} is {now.state} after {timeout:g} s")
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, longest_s)
        return self.get(job)

    def images(self, job: JobSummary | uuid.UUID | str) -> Iterator[ImageView]:
        """All images of a job, page by page."""
        following: int | None = 0
        while following is not None:
            page = self.get(job, images_from=following)
            yield from page.images
            following = page.images_next

    def attempts(self, job: JobSummary | uuid.UUID | str, index: int = 0) -> tuple[AttemptView, ...]:
        """What happened in the last claims of an image, oldest first."""
        answer = self._http.request("GET", f"{_path(job)}/images/{index}/attempts")
        return tuple(AttemptList.model_validate_json(answer.content).data)

    def image(self, job: JobSummary | uuid.UUID | str, index: int = 0) -> bytes:
        """The file of one image.

        Raises:
            Conflict: it is not there yet.
            RenderError: it never will be: failed or cancelled.
        """
        path = f"{_path(job)}/images/{index}"
        link = self._http.request("GET", path).headers.get("Location", "")
        try:
            answer = httpx.get(link, timeout=self._http.client.timeout)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code == 200:
            return answer.content
        # The object store may have an address that only the farm can reach.
        return self._http.request("GET", path, params={"proxy": 1}).content

    def download(self, job: JobSummary | uuid.UUID | str, folder: str | Path) -> dict[int, Path]:
        """Saves the images that are there as `<job>-<index>.<format>`, and tells where: index -> path.

        Files that are there already with the right bytes are left alone.

        Raises:
            TransientError: what came is not what was made.
        """
        return client_images.download(self, job, Path(folder))


def _read(model: type[M], given: M | Mapping[str, Any]) -> M:
    if isinstance(given, model):
        return given
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise explain(error, model)[0] from error


def _path(job: JobSummary | uuid.UUID | str) -> str:
    name = str(job.id if isinstance(job, JobSummary) else job)
    return f"/v1/jobs/{quote(name, safe='')}"
