"""What a batch is at: read from its dataset, since nobody keeps a second record of that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentfarm.dataset_progress import NOTHING
from latentfarm.keys import file_key
from latentfarm.manifests.lines import read_lines
from latentfarm.repository import batches, files, sets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from api.deps import Services
    from api.openai.batch_views import Status
    from latentfarm.repository.batches import Batch, Missing
    from latentfarm.repository.sets import Dataset, Progress

_SPAN = 1 << 20
_ENDED = ("completed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch, and its dataset; `dataset` is None where none of its requests can be rendered.

    Attributes:
        completed: requests all of whose images there are.
        failed: requests that stand in the error file.
    """

    batch: Batch
    dataset: Dataset | None
    progress: Progress
    status: Status
    completed: int = 0
    failed: int = 0

    @property
    def has_files(self) -> bool:
        """Whether all that is to come of it has come."""
        return self.status in _ENDED

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What is wrong with its file as a whole."""
        if self.batch.errors or self.status != "failed" or self.dataset is None:
            return self.batch.errors
        told = self.dataset.report.get("error") or {}
        message = f"{told.get('field', '')}: {told.get('message', '')}"
        return [{"code": "invalid_file", "line": None, "message": message[:200], "param": None}]

    @property
    def taken_back_at(self) -> datetime | None:
        """When somebody took it back, here or as a dataset."""
        return self.batch.cancelled_at or (None if self.dataset is None else self.dataset.cancelled_at)

    @property
    def ended_at(self) -> datetime | None:
        """When nothing was left to be done."""
        if self.dataset is None or self.dataset.state is None:
            return self.taken_back_at or self.batch.expired_at or self.batch.created_at
        return self.dataset.finished_at


def look(connection: Connection, batch: Batch, *, tenant: str) -> Standing:
    """What a batch is at; its counts are `counted`."""
    dataset = sets.get(connection, batch.id, tenant=tenant)
    progress = NOTHING if dataset is None else sets.progress(connection, batch.id)
    return Standing(batch, dataset, progress, status_of(batch, dataset, progress))


def status_of(batch: Batch, dataset: Dataset | None, progress: Progress) -> Status:
    """In OpenAI's words."""
    if batch.errors:
        return "failed"
    if dataset is None:
        return "completed"
    ended = dataset.finished_at is not None if dataset.state else dataset.phase == "rejected"
    if batch.expired_at:
        return "expired" if ended else "finalizing"
    if batch.cancelled_at or dataset.cancelled_at:
        return "cancelled" if ended else "cancelling"
    if ended:
        return "completed" if dataset.state else "failed"
    return _at_work(dataset, progress)


def _at_work(dataset: Dataset, progress: Progress) -> Status:
    if dataset.state is None:
        return "validating"
    return "finalizing" if progress.ended >= dataset.images else "in_progress"


def counted(use: Services, found: Standing, *, tenant: str) -> Standing:
    """The same with its counts.

    Exact where every request asks for one image, and once the batch has ended. While one is at work whose requests
    ask for several, the images that are done are taken for as many requests as they are on average; so are those
    that came of it, once the file is gone that tells which request asked for which.
    """
    batch, dataset, progress = found.batch, found.dataset, found.progress
    if found.status == "failed":
        return _with(found, 0, 0)
    if dataset is None:
        return _with(found, 0, batch.refused)
    valid = batch.requests - batch.refused
    if not found.has_files:
        share = valid / max(1, dataset.images)
        completed = int((progress.ended - progress.failed) * share)
        return _with(found, completed, batch.refused + min(progress.failed, valid - completed))
    if batch.single:
        completed = progress.packed
    elif _size(use, found, tenant) is None:
        completed = int(progress.packed * valid / max(1, dataset.images))
    else:
        completed = sum(not one.missing for one in outcomes(use, found, tenant))
    return _with(found, completed, batch.requests - completed)


def _with(found: Standing, completed: int, failed: int) -> Standing:
    return Standing(found.batch, found.dataset, found.progress, found.status, completed, failed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        told: its line in the file that is kept of the batch, see `sorting`.
        first: ordinal of its first image.
        missing: its images that no shard holds; all of them where it could not be rendered.
    """

    told: dict[str, Any]
    first: int
    missing: list[Missing]

    @property
    def is_refused(self) -> bool:
        """Whether it could not be rendered."""
        return "error" in self.told


def outcomes(use: Services, found: Standing, tenant: str) -> Iterator[Outcome]:
    """What became of each request, in the order of the file. A page of it is in memory."""
    lines, size = found.batch.lines, _size(use, found, tenant)
    if lines is None or size is None:
        return
    absent, first = _Absent(use, found), 0
    for line in read_lines(_blocks(use, file_key(lines), size)):
        told = json.loads(line.text)
        end = first + told["n"]
        refused = [batches.Missing(first, failed=True, message=None)] if "error" in told else []
        yield Outcome(told, first, refused or absent.between(first, end))
        first = end


def _size(use: Services, found: Standing, tenant: str) -> int | None:
    """Bytes of the file that tells of each request; None when it is kept no longer, or there never was one."""
    lines = found.batch.lines
    if lines is None:
        return None
    return use.repository.transact(lambda c: files.size_of_lines(c, lines, tenant=tenant))


def _blocks(use: Services, key: str, size: int) -> Iterator[bytes]:
    """An object in requests of their own: whoever reads the answer may be slow, and a store cuts idle connections."""
    for at in range(0, size, _SPAN):
        yield b"".join(use.store.stream(key, span=(at, min(size, at + _SPAN))))


class _Absent:
    """Images that no sealed shard holds, asked for in the order of ordinals."""

    def __init__(self, use: Services, found: Standing) -> None:
        self._dataset = found.dataset
        self._all = self._read(use, found.batch.id)
        self._next = next(self._all, None)

    def between(self, first: int, end: int) -> list[Missing]:
        found = []
        while self._next is not None and self._next.ordinal < end:
            if self._next.ordinal >= first:
                found.append(self._next)
            self._next = next(self._all, None)
        return found

    def _read(self, use: Services, batch_id: UUID) -> Iterator[Missing]:
        if self._dataset is None:
            return
        at = 0
        while page := use.repository.transact(lambda c, at=at: batches.missing(c, batch_id, at)):  # type: ignore[misc]  # mypy infers no lambda with a default
            yield from page
            at = page[-1].ordinal + 1
        # What never came in before it was taken back.
        for ordinal in range(self._dataset.inserted, 2**31):
            yield batches.Missing(ordinal, failed=False, message=None)
