"""The two files of a batch: made of its shards and its records when they are asked for, and never whole in memory.

They are not kept a second time: a shard holds the bytes of each image, and an answer its base64, a third more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from api.openai.answers import encoded_size, in_base64
from api.openai.errors import error_of
from api.openai.file_views import OpenAIFile
from api.openai.ids import batch_text, no_file
from api.openai.standing import Outcome, Standing, counted, look, outcomes
from api.problems import ProblemError
from latentfarm.packed import Packed, Shards
from latentfarm.repository import batches, sets
from latentfarm.retention import expires_at, told
from latentfarm.spec import SEED_RANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.deps import Services
    from api.openai.ids import FileId
    from latentfarm.repository.sets import ShardFiles

_PAGE = 100


def view(use: Services, named: FileId, *, tenant: str) -> OpenAIFile:
    """One of the files of a batch that has ended, as it is shown. Its size is reckoned without reading an image.

    Raises:
        NotFound: there is no such file.
        ProblemError: 410 where it is kept no longer.
    """
    found = _require(use, named, tenant)
    size = sum(
        len(one) if isinstance(one, bytes) else encoded_size(one.size)
        for one in _parts(use, found, named, tenant)
    )
    dataset = found.dataset
    end = dataset and expires_at(dataset.finished_at, dataset.retain_days)
    return OpenAIFile(
        id=str(named),
        bytes=size,
        created_at=int((found.ended_at or found.batch.created_at).timestamp()),
        expires_at=int(end.timestamp()) if end and named.kind == "output" else None,
        filename=f"{batch_text(named.id)}_{named.kind}.jsonl",
        purpose="batch_output",
    )


def content(use: Services, named: FileId, *, tenant: str) -> Iterator[bytes]:
    """The bytes of such a file.

    Raises:
        NotFound: there is no such file.
        ProblemError: 410 where it is kept no longer.
        TransientError: the object store does not answer.
    """
    for part in _parts(use, _require(use, named, tenant), named, tenant):
        if isinstance(part, bytes):
            yield part
        else:
            yield from in_base64(part.read(use.store))


def drop(use: Services, named: FileId, *, tenant: str) -> None:
    """Deletes such a file.

    Raises:
        NotFound: there is no such file.
    """
    _require(use, named, tenant)
    gone = batches.drop_output if named.kind == "output" else batches.drop_errors
    use.repository.transact(lambda c: gone(c, named.id, tenant=tenant))


def _require(use: Services, named: FileId, tenant: str) -> Standing:
    batch = use.repository.transact(lambda c: batches.get(c, named.id, tenant=tenant))
    if batch is None:
        raise no_file(named)
    found = use.repository.transact(lambda c: look(c, batch, tenant=tenant))
    output = named.kind == "output"
    if not found.has_files or (batch.output_deleted_at if output else batch.errors_deleted_at):
        raise no_file(named)
    dataset = found.dataset
    if output and dataset is not None and dataset.gone_at is not None:
        detail = told(f"the images of {batch_text(batch.id)}", dataset.gone_at, dataset.retain_days)
        raise ProblemError(HTTPStatus.GONE, "gone", detail)
    found = counted(use, found, tenant=tenant)
    if not (found.completed if output else found.failed):
        raise no_file(named)
    return found


def _parts(use: Services, found: Standing, named: FileId, tenant: str) -> Iterator[bytes | Packed]:
    shards = Shards(use.store, _sealed(use, found))
    for one in outcomes(use, found, tenant):
        if named.kind == "output" and not one.missing:
            yield from _Answer(found, one).good(shards)
        elif named.kind == "errors" and one.missing:
            yield _Answer(found, one).bad()


def _sealed(use: Services, found: Standing) -> Iterator[ShardFiles]:
    place = (-1, 0)
    while page := use.repository.transact(
        lambda c, place=place: sets.files(c, found.batch.id, after=place, limit=_PAGE)  # type: ignore[misc]  # mypy infers no lambda with a default
    ):
        yield from page
        place = (page[-1].number, page[-1].part)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A line of one of the files."""

    found: Standing
    outcome: Outcome

    def good(self, shards: Shards) -> Iterator[bytes | Packed]:
        """With the images of the request."""
        dataset, told = self.found.dataset, self.outcome.told
        if dataset is None:
            return
        body = json.dumps({"created": int(self.found.batch.created_at.timestamp()), **told["shown"]})
        yield self._head(200) + body[:-1].encode() + b', "data": ['
        for number in range(told["n"]):
            ordinal = self.outcome.first + number
            seed = dataset.seed + ordinal if told["seed"] is None else told["seed"] + number
            start = json.dumps({"seed": seed % SEED_RANGE})[:-1] + ', "b64_json": "'
            yield (b", " if number else b"") + start.encode()
            yield shards.find(ordinal)
            yield b'"}'
        yield b']}}, "error": null}\n'

    def bad(self) -> bytes:
        """With what went wrong."""
        told = self.outcome.told
        if self.outcome.is_refused:
            return self._refusal(told["status"], told["error"])
        failed = [one for one in self.outcome.missing if one.failed]
        if failed:
            image = failed[0].ordinal - self.outcome.first
            detail = f"image {image} of this request failed: {failed[0].message or 'no worker said why'}"
            problem = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "render_failed", detail)
            return self._refusal(problem.status, error_of(problem))
        return self._line(None, self._undone())

    def _undone(self) -> dict[str, Any]:
        status = self.found.status
        if status == "completed":
            return {"code": "not_packed", "message": "its images could not be packed; the dataset tells why"}
        return {"code": f"batch_{status}", "message": f"the batch was {status} before this request was done"}

    def _refusal(self, status: int, error: dict[str, Any]) -> bytes:
        return self._line(
            {"status_code": status, "request_id": self._request, "body": {"error": error}}, None
        )

    def _line(self, response: dict[str, Any] | None, error: dict[str, Any] | None) -> bytes:
        line = {
            "id": f"batch_req_{self._request}",
            "custom_id": self.outcome.told["custom_id"],
            "response": response,
            "error": error,
        }
        return json.dumps(line).encode() + b"\n"

    def _head(self, status: int) -> bytes:
        """All that stands before the body of an answer."""
        line = {"id": f"batch_req_{self._request}", "custom_id": self.outcome.told["custom_id"]}
        response = {"status_code": status, "request_id": self._request}
        return (json.dumps(line)[:-1] + ', "response": ' + json.dumps(response)[:-1] + ', "body": ').encode()

    @property
    def _request(self) -> str:
        return f"{self.found.batch.id}-{self.outcome.told['line']}"
