"""A batch is made: its file is read once, and becomes the manifest of one dataset, in one transaction with the batch."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import psycopg.errors
from sqlalchemy.exc import OperationalError

from api.openai.batch_request import ENDPOINT, LONGEST_H
from api.openai.ids import parse_file
from api.openai.sorting import Sorting
from latentfarm.errors import Conflict, InvalidInput, ManifestError, NotFound, ServiceUnavailable
from latentfarm.ids import new_id
from latentfarm.keys import file_key, upload_key
from latentfarm.lifecycle import replayed
from latentfarm.manifests.lines import read_lines
from latentfarm.manifests.request import DatasetRequest
from latentfarm.records import ObjectRef
from latentfarm.repository import batches, files, outgoing, quotas, sets, submitting, uploads
from latentfarm.spec import SEED_RANGE

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from api.deps import Services
    from api.openai.batch_request import BatchRequest
    from latentfarm.repository.files import StoredFile

READ_S = 300.0
"""Further seconds that an answer may take: 50,000 requests are checked one after the other."""
AGAIN_S = 900.0
"""Seconds within which a client repeats a request by itself."""
SHARD_IMAGES = 100
"""Of one shard: what is packed when a batch is cancelled, stays."""
_LAYOUT = "imagefolder"
"""The only layout that holds several formats, and tells where each image lies."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a batch.

    Attributes:
        key: the Idempotency-Key, if any.
        again: the client says that it asks for the same thing once more.
    """

    tenant: str
    key: str | None
    again: bool


def create(use: Services, asked: BatchRequest, who: Asker) -> tuple[UUID, bool]:
    """Makes a batch, or finds the one that this very request has made before.

    Returns:
        Its id, and whether it was there.

    Raises:
        InvalidInput: the request is wrong. What is wrong with its file, the batch tells.
        Conflict: the first request with this key has not ended yet.
        TooMuchQueued: the tenant has as many renders waiting as it may.
        OverQuota: a quota of the tenant is used up.
        TransientError: the object store does not answer.
    """
    fingerprint = hashlib.sha256(asked.model_dump_json(exclude_defaults=True).encode()).digest()
    if (known := _known(use, who, fingerprint)) is not None:
        return known, True
    found = _file(use, asked, who.tenant)
    use.repository.transact(lambda c: quotas.check_open(c, who.tenant))
    with tempfile.TemporaryFile() as rows, tempfile.TemporaryFile() as lines:
        making = _Making(use, asked, who, fingerprint, new_id())
        sorting = Sorting(use.registry, making.dataset, asked.endpoint, rows, lines)
        try:
            sorting.read(read_lines(use.store.stream(file_key(found.id), 1 << 20)))
        except ManifestError as error:
            told = {"code": "invalid_file", "line": error.line, "message": str(error), "param": None}
            sorting.errors.append(told)
        return making.store(found.id, sorting, rows, lines)


def _known(use: Services, who: Asker, fingerprint: bytes) -> UUID | None:
    if who.key is not None:
        before = use.repository.known_key(who.tenant, who.key)
        return None if before is None else replayed(before, fingerprint).job_id
    if not who.again:
        return None
    values: dict[str, Any] = {"tenant": who.tenant, "fingerprint": fingerprint, "within_s": AGAIN_S}
    return use.repository.transact(lambda c: batches.recent(c, **values))


def _file(use: Services, asked: BatchRequest, tenant: str) -> StoredFile:
    if asked.endpoint != ENDPOINT:
        raise InvalidInput("endpoint", "takes no batches here: datasets start from words", ENDPOINT)
    if int(asked.completion_window[:-1]) > LONGEST_H:
        raise InvalidInput("completion_window", "is too long", f"24h, up to {LONGEST_H}h")
    try:
        named = parse_file(asked.input_file_id)
    except NotFound:
        named = None
    found = None
    if named is not None and not named.kind:
        found = use.repository.transact(lambda c: files.find(c, named.id, tenant=tenant))
    if found is None:
        raise InvalidInput("input_file_id", "there is no such file", "the id of a file of purpose batch")
    return found


class _Making:
    """One batch, from its sorted file to its rows in SQL."""

    def __init__(
        self, use: Services, asked: BatchRequest, who: Asker, fingerprint: bytes, batch_id: UUID
    ) -> None:
        self._use = use
        self._asked = asked
        self._who = who
        self._fingerprint = fingerprint
        self._id = batch_id
        self._upload = new_id()

    @property
    def dataset(self) -> DatasetRequest:
        """What is underneath."""
        kept = self._asked.output_expires_after
        return DatasetRequest.model_validate(
            {
                "name": f"batch-{self._id}",
                "manifest": {"upload": self._upload},
                "format": "jsonl",
                "layout": _LAYOUT,
                "shard_samples": SHARD_IMAGES,
                "retain_days": None if kept is None else kept.seconds / _DAY_S,
                "metadata": self._asked.metadata or {},
            }
        )

    def store(self, input_file: UUID, sorting: Sorting, rows: BinaryIO, lines: BinaryIO) -> tuple[UUID, bool]:
        """Objects first, then all records in one transaction."""
        lines_id = None
        if not sorting.errors:
            lines_id = self._put_lines(lines)
            if sorting.images:
                self._put_rows(rows)
        renders = not sorting.errors and sorting.images > 0

        def work(connection: Connection) -> tuple[bytes, UUID] | None:
            key = self._who.key
            if key is not None:
                before = submitting.remember_key(
                    connection, self._who.tenant, key, self._fingerprint, self._id
                )
                if before is not None:
                    return before
            if renders:
                self._leave_to_the_scheduler(connection)
            if lines_id is not None and files.stored(connection, lines_id, kept_s=None) is None:
                raise ServiceUnavailable("the requests took too long to reach the object store")
            self._add(connection, input_file, sorting, lines_id, watched=renders)
            return None

        try:
            known = self._use.repository.transact(work)
        except OperationalError as error:
            if isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise Conflict("the first request with this Idempotency-Key has not ended yet") from error
            raise
        return (self._id, False) if known is None else (replayed(known, self._fingerprint).job_id, True)

    def _put_lines(self, lines: BinaryIO) -> UUID:
        lines_id = new_id()
        ref = _ref(file_key(lines_id), lines)
        values: dict[str, Any] = {"purpose": files.LINES, "filename": f"{self._id}.jsonl", "size": ref.size}
        self._use.repository.transact(lambda c: files.plan(c, lines_id, tenant=self._who.tenant, **values))
        self._use.store.put_new(ref, lines, "application/jsonl")
        return lines_id

    def _put_rows(self, rows: BinaryIO) -> None:
        ref = _ref(upload_key(self._upload), rows)
        values: dict[str, Any] = {"size": ref.size, "good_s": files.PUT_S}
        self._use.repository.transact(
            lambda c: uploads.add(c, self._upload, tenant=self._who.tenant, **values)
        )
        self._use.store.put_new(ref, rows, "application/jsonl")

    def _leave_to_the_scheduler(self, connection: Connection) -> None:
        quotas.check_open(connection, self._who.tenant)
        request = self.dataset
        uploads.require(connection, self._upload, tenant=self._who.tenant)
        sets.add(
            connection,
            self._id,
            tenant=self._who.tenant,
            name=request.name,
            request=request.model_dump(mode="json"),
            seed=secrets.randbelow(SEED_RANGE),
            report={},
        )

    def _add(
        self,
        connection: Connection,
        input_file: UUID,
        sorting: Sorting,
        lines_id: UUID | None,
        *,
        watched: bool,
    ) -> None:
        asked = self._asked
        values = {
            "fingerprint": self._fingerprint,
            "input_file": input_file,
            "endpoint": asked.endpoint,
            "completion_window": asked.completion_window,
            "metadata": asked.metadata or {},
            "requests": sorting.requests,
            "refused": sorting.refused,
            "single": sorting.single,
            "errors": sorting.errors,
            "lines": lines_id,
            "watched": watched,
        }
        hours = int(asked.completion_window[:-1])
        batches.add(connection, self._id, tenant=self._who.tenant, hours=hours, values=values)
        if not watched:
            outgoing.write_batch(connection, self._id, failed=bool(sorting.errors))


def _ref(key: str, file: BinaryIO) -> ObjectRef:
    """What a file holds, read a piece at a time."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(1 << 20):
        digest.update(piece)
        size += len(piece)
    return ObjectRef(key, digest.digest(), size)
