"""Leave to upload a file, with a link that takes just that many bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from latentfarm.errors import InvalidInput
from latentfarm.keys import upload_key
from latentfarm.references import MAX_INPUT_BYTES, MAX_MANIFEST_BYTES
from latentfarm.repository import uploads

MOST = {"image": MAX_INPUT_BYTES, "manifest": MAX_MANIFEST_BYTES}
"""Bytes of an upload, by what it is for."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from latentfarm.records import UploadTicket
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
        """
        if not 1 <= size <= MOST[purpose]:
            raise InvalidInput("size", f"{size} bytes of purpose {purpose}", f"1 to {MOST[purpose]}")
        upload_id = self.new_id()
        ticket = self.repository.transact(
            lambda c: uploads.add(c, upload_id, tenant=tenant, size=size, good_s=self.good_s)
        )
        return ticket, self.store.upload_link(upload_key(upload_id), size=size, seconds=self.good_s)
