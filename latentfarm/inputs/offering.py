"""Leave to upload a file, with a link that takes just that many bytes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.inputs.decoding import TURN_S, examine
from latentfarm.inputs.resolving import keep
from latentfarm.keys import upload_key
from latentfarm.references import MAX_INPUT_BYTES, MAX_MANIFEST_BYTES
from latentfarm.repository import kept_uploads, quotas, uploads

_taken = threading.BoundedSemaphore(4)
"""Pictures of one process that are looked at together as they come in."""
MOST = {"image": MAX_INPUT_BYTES, "manifest": MAX_MANIFEST_BYTES}
"""Bytes of an upload, by what it is for."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.records import KeptUpload, UploadTicket
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


@dataclass(frozen=True, slots=True)
class Uploads:
    """Gives leave to upload.

    Attributes:
        good_s: seconds that a link, and what was put to it, is good for.
    """

    repository: Repository
    store: S3Store
    new_id: Callable[[], UUID]
    good_s: int

    def offer(
        self, size: int, *, tenant: str, purpose: Literal["image", "manifest"] = "image"
    ) -> tuple[UploadTicket, str]:
        """An upload of `size` bytes, and the link for its PUT.

        Raises:
            InvalidInput: more bytes than such a file may have.
            OverQuota: the tenant keeps as many files, or bytes, as it may.
        """
        if not 1 <= size <= MOST[purpose]:
            raise InvalidInput("size", f"{size} bytes of purpose {purpose}", f"1 to {MOST[purpose]}")
        upload_id = self.new_id()

        def add(connection: Connection) -> UploadTicket:
            quotas.take_file(connection, tenant, size)
            return uploads.add(connection, upload_id, tenant=tenant, size=size, good_s=self.good_s)

        ticket = self.repository.transact(add)
        return ticket, self.store.upload_link(upload_key(upload_id), size=size, seconds=self.good_s)

    def take(self, data: bytes, *, tenant: str, field: str) -> KeptUpload:
        """A picture that came through the API, under an id as if it had been put to a link.

        Raises:
            InvalidInput: it is no picture, or too large; names the field.
            OverQuota: as of `offer`.
            ServiceUnavailable: too many others are being looked at.
            TransientError: the object store does not answer.
        """
        # Before it is looked at, and kept by its content.
        self.repository.transact(lambda c: quotas.take_file(c, tenant, len(data)))
        if not _taken.acquire(timeout=TURN_S):
            raise ServiceUnavailable("too many pictures are being looked at")
        try:
            shape = examine(field, data)
        finally:
            _taken.release()
        sha256, upload_id = keep(self.repository, self.store, data, shape), self.new_id()

        def add(connection: Connection) -> KeptUpload | None:
            quotas.take_file(connection, tenant, len(data))
            uploads.add(connection, upload_id, tenant=tenant, size=len(data), good_s=self.good_s)
            uploads.mark_used(connection, upload_id, sha256)
            return kept_uploads.find(connection, upload_id, tenant=tenant)

        kept = self.repository.transact(add)
        if kept is None:
            raise ServiceUnavailable("the picture was swept away while it was taken")
        return kept
