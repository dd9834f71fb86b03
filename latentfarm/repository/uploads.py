"""Leave to upload files: given with an end, used by id, swept when the end is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.errors import InvalidInput
from latentfarm.records import UploadTicket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

_ADD = text("""
    INSERT INTO uploads (id, tenant, size, expires_at)
    VALUES (:id, :tenant, :size, now() + make_interval(secs => :good_s))
    RETURNING id, size, expires_at, used_as
""")

_FIND = text("""
    SELECT id, size, expires_at, used_as FROM uploads
    WHERE id = :id AND tenant = :tenant AND expires_at > now()
""")

_USED = text("UPDATE uploads SET used_as = :sha256 WHERE id = :id")

# A manifest is held while it waits to be checked, however long that takes.
_EXPIRED = text("""
    SELECT u.id FROM uploads u WHERE u.expires_at < now() - make_interval(secs => :after_s)
      AND NOT EXISTS (
        SELECT FROM datasets d WHERE d.phase = 'checking' AND CAST(u.id AS text) IN (
            d.request #>> '{manifest,upload}', d.report #>> '{again,manifest,upload}'))
    ORDER BY u.expires_at LIMIT :limit FOR UPDATE OF u SKIP LOCKED
""")

_NAMED = text("SELECT id FROM uploads WHERE id = :id AND tenant = :tenant")

_FORGET = text("DELETE FROM uploads WHERE id = ANY (CAST(:ids AS uuid[]))")


def add(connection: Connection, upload_id: UUID, *, tenant: str, size: int, good_s: float) -> UploadTicket:
    """Stores an upload that may be made and used for `good_s` seconds."""
    values = {"id": upload_id, "tenant": tenant, "size": size, "good_s": good_s}
    return UploadTicket(*connection.execute(_ADD, values).one())


def find(connection: Connection, upload_id: UUID, *, tenant: str) -> UploadTicket | None:
    """An upload of the tenant, until it expires."""
    row = connection.execute(_FIND, {"id": upload_id, "tenant": tenant}).first()
    return None if row is None else UploadTicket(*row)


def require(connection: Connection, upload_id: UUID, *, tenant: str) -> None:
    """Names an upload in what this transaction stores; from its commit on the upload is held.

    Raises:
        InvalidInput: there is none, or its time is over.
    """
    if find(connection, upload_id, tenant=tenant) is None:
        raise InvalidInput("manifest.upload", "no such upload, or its time is over", "a new upload")


def is_held(connection: Connection, upload_id: UUID, *, tenant: str) -> bool:
    """Whether an upload that was named in time is there, though its time may be over by now."""
    return connection.execute(_NAMED, {"id": upload_id, "tenant": tenant}).first() is not None


def mark_used(connection: Connection, upload_id: UUID, sha256: bytes) -> None:
    """What the upload was when a job first used it: a second PUT to its link changes nothing."""
    connection.execute(_USED, {"id": upload_id, "sha256": sha256})


def expired(connection: Connection, *, after_s: float, limit: int) -> list[UUID]:
    """Uploads that ended more than `after_s` seconds ago, when a PUT that began in time has ended too, and that nobody waits for."""
    return list(connection.execute(_EXPIRED, {"after_s": after_s, "limit": limit}).scalars())


def forget(connection: Connection, ids: Sequence[UUID]) -> None:
    """Deletes the rows of uploads whose objects are gone."""
    connection.execute(_FORGET, {"ids": list(ids)})
