"""Leave to upload files: given with an end, used by id, swept when the end is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

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

_EXPIRED = text("""
    SELECT id FROM uploads WHERE expires_at < now() - make_interval(secs => :after_s)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")

_FORGET = text("DELETE FROM uploads WHERE id = ANY (CAST(:ids AS uuid[]))")


def add(connection: Connection, upload_id: UUID, *, tenant: str, size: int, good_s: float) -> UploadTicket:
    """Stores an upload that may be made and used for `good_s` seconds."""
    values = {"id": upload_id, "tenant": tenant, "size": size, "good_s": good_s}
    return UploadTicket(*connection.execute(_ADD, values).one())


def find(connection: Connection, upload_id: UUID, *, tenant: str) -> UploadTicket | None:
    """An upload of the tenant, until it expires."""
    row = connection.execute(_FIND, {"id": upload_id, "tenant": tenant}).first()
    return None if row is None else UploadTicket(*row)


def mark_used(connection: Connection, upload_id: UUID, sha256: bytes) -> None:
    """What the upload was when a job first used it: a second PUT to its link changes nothing."""
    connection.execute(_USED, {"id": upload_id, "sha256": sha256})


def expired(connection: Connection, *, after_s: float, limit: int) -> list[UUID]:
    """Uploads that ended more than `after_s` seconds ago: a PUT that began in time has ended too."""
    return list(connection.execute(_EXPIRED, {"after_s": after_s, "limit": limit}).scalars())


def forget(connection: Connection, ids: Sequence[UUID]) -> None:
    """Deletes the rows of uploads whose objects are gone."""
    connection.execute(_FORGET, {"ids": list(ids)})
