"""Datasets of the client: ask for one, watch it, read what is sealed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from latentfarm.client_inputs import put
from latentfarm.dataset_views import (
    DatasetList,
    DatasetPlan,
    DatasetPlanning,
    DatasetView,
    FailureList,
    FailureView,
    FileList,
    Retried,
    ShardView,
)
from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.explain import explain
from latentfarm.manifests.request import DatasetRequest
from latentfarm.references import MAX_MANIFEST_BYTES
from latentfarm.views import UploadView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentfarm.client_http import Http

M = TypeVar("M", bound=BaseModel)
_POLL_S = (0.2, 2.0)


class Datasets:
    """The datasets of one API; `Client.datasets`."""

    def __init__(self, http: Http) -> None:
        self.http = http

    def create(self, request: DatasetRequest | Mapping[str, Any]) -> DatasetView:
        """Hands in a dataset, or goes on with the one of that name.

        Raises:
            ManifestError: a row is wrong, with its line; nothing was stored. Of a manifest that is in the
                bucket `error` of the view tells it later.
            InvalidInput: the request is wrong; of kind `ManifestChanged`: it is another dataset.
            Conflict: the rows are still coming in; of kind `Ended`: it was cancelled.
        """
        return self._ask(DatasetView, "POST", "/v1/datasets", content=_body(request), headers=_JSON)

    def plan(self, request: DatasetRequest | Mapping[str, Any]) -> DatasetPlan:
        """What a dataset would be; makes nothing. A manifest in the bucket is waited for.

        Raises:
            ManifestError: a row is wrong, with its line.
            InvalidInput: as of `create`.
        """
        given = {"params": {"dry_run": "true"}, "content": _body(request), "headers": _JSON}
        answer = self.http.request("POST", "/v1/datasets", **given)
        if answer.status_code != httpx.codes.ACCEPTED:
            return DatasetPlan.model_validate_json(answer.content)
        planning, pause_s = DatasetPlanning.model_validate_json(answer.content), _POLL_S[0]
        while planning.plan is None:
            if (error := planning.error) is not None:
                raise ManifestError(error.field, error.message, error.allowed, line=error.line)
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, _POLL_S[1])
            planning = self._ask(DatasetPlanning, "GET", f"/v1/plans/{planning.id}")
        return planning.plan

    def get(self, name: str) -> DatasetView:
        """A dataset as it is now.

        Raises:
            NotFound: there is none.
        """
        return self._ask(DatasetView, "GET", _path(name))

    def list(self, *, limit: int = 20, after: str | None = None) -> DatasetList:
        """A page of datasets, newest first; `after` is the `next_cursor` of the page before."""
        given = {"limit": limit} | ({} if after is None else {"after": after})
        return self._ask(DatasetList, "GET", "/v1/datasets", params=given)

    def wait(self, name: str, *, timeout: float | None = None) -> DatasetView:
        """Returns the dataset once it has ended, however it ended.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause_s, longest_s = _POLL_S
        while not (now := self.get(name)).is_final:
            if end is not None and time.monotonic() + pause_s > end:
                raise TimeoutError(f"dataset {name} is {now.state} after {timeout:g} s")
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, longest_s)
        return now

    def cancel(self, name: str) -> DatasetView:
        """Takes a dataset back; sealed shards stay."""
        return self._ask(DatasetView, "POST", f"{_path(name)}/cancel")

    def retry_failed(self, name: str) -> Retried:
        """Queues failed images again, and shards that could not be packed."""
        return self._ask(Retried, "POST", f"{_path(name)}/retry-failed")

    def pause(self, name: str) -> DatasetView:
        """Holds back what has not been sent to a worker yet."""
        return self._ask(DatasetView, "POST", f"{_path(name)}/pause")

    def resume(self, name: str) -> DatasetView:
        """Lets a paused dataset go on."""
        return self._ask(DatasetView, "POST", f"{_path(name)}/resume")

    def delete(self, name: str) -> None:
        """Throws a dataset away that is not at work, for good: files, images and records; its name is free then.

        Raises:
            NotFound: there is none.
            Conflict: it is at work; cancel it first.
        """
        self.http.request("DELETE", _path(name))

    def failures(self, name: str) -> Iterator[FailureView]:
        """All failed images by ordinal, page by page."""
        following: int | None = 0
        while following is not None:
            page = self._ask(FailureList, "GET", f"{_path(name)}/failures", params={"from": following})
            yield from page.data
            following = page.next

    def shards(self, name: str, *, after: str | None = None) -> Iterator[ShardView]:
        """What is sealed, with links that are good for some minutes: the files at the top first, if there.

        Args:
            after: `number.part` of the shard before the first one; all when absent.
        """
        while True:
            given = {} if after is None else {"after": after}
            page = self._ask(FileList, "GET", f"{_path(name)}/files", params=given)
            yield from page.data
            if (after := page.next) is None:
                return

    def upload(self, manifest: BinaryIO) -> str:
        """Uploads a manifest as a stream; the id that comes back is for `manifest.upload`.

        Args:
            manifest: an open file that can seek, of at most 2 GiB less one byte.

        Raises:
            InvalidInput: it is empty or too large.
            ServiceUnavailable: the API or the object store was away for `retry_s`.
        """
        size = manifest.seek(0, 2)
        if not 1 <= size <= MAX_MANIFEST_BYTES:
            raise InvalidInput(
                "manifest", f"{size} bytes", f"1 to {MAX_MANIFEST_BYTES}; or a key of the bucket"
            )
        answer = self.http.request("POST", "/v1/uploads", json={"size": size, "purpose": "manifest"})
        offer = UploadView.model_validate_json(answer.content)
        put(self.http, offer.url, manifest)
        return str(offer.id)

    def _ask(self, model: type[M], method: str, path: str, **given: Any) -> M:
        return model.model_validate_json(self.http.request(method, path, **given).content)


_JSON = {"Content-Type": "application/json"}


def _body(request: DatasetRequest | Mapping[str, Any]) -> str:
    if not isinstance(request, DatasetRequest):
        try:
            request = DatasetRequest.model_validate(request)
        except ValidationError as error:
            raise explain(error, DatasetRequest)[0] from error
    return request.model_dump_json(exclude_unset=True)


def _path(name: str) -> str:
    return f"/v1/datasets/{quote(name, safe='')}"
