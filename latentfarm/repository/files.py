"""Files of clients: planned before they are put, seen once they are there, swept when their time is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

PUT_S = 3600
"""Seconds within which a file that was planned must be there."""
LINES = "lines"
"""Purpose of the file with a line for each request of a batch, which no client sees as a file."""

_PLAN = text("""
    INSERT INTO files (id, tenant, purpose, filename, size, expires_at)
    VALUES (:id, :tenant, :purpose, :filename, :size, now() + make_interval(secs => :good_s))
""")

_STORED = text("""
    UPDATE files SET stored_at = now(), expires_at = created_at + make_interval(secs => CAST(:kept_s AS double precision))
    WHERE id = :id AND stored_at IS NULL AND expires_at > now()
    RETURNING id, purpose, filename, size, created_at, expires_at
""")

_SEEN = "tenant = :tenant AND stored_at IS NOT NULL AND (expires_at IS NULL OR expires_at > now())"
_COLUMNS = "id, purpose, filename, size, created_at, expires_at"
_LINES = text(f"SELECT size FROM files WHERE id = :id AND purpose = '{LINES}' AND {_SEEN}")  # noqa: S608 - no input in it
_FIND = text(f"SELECT {_COLUMNS} FROM files WHERE id = :id AND purpose <> '{LINES}' AND {_SEEN}")  # noqa: S608 - no input in it
_LIST = text(f"""
    SELECT {_COLUMNS} FROM files WHERE {_SEEN} AND purpose <> '{LINES}'
      AND CASE WHEN :newest THEN id < :after ELSE id > :after END
    ORDER BY CASE WHEN :newest THEN id END DESC, id LIMIT :limit
""")  # noqa: S608 - no input in it

_DROP = text(f"""
    UPDATE files SET expires_at = now() WHERE id = :id AND purpose <> '{LINES}' AND {_SEEN} RETURNING id
""")  # noqa: S608 - no input in it

_EXPIRED = text("""
    SELECT id FROM files WHERE expires_at < now() - make_interval(secs => :after_s)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")

# What is kept of a batch outlives its images by a month: it tells what became of those that failed.
_LET_GO = text(f"""
    UPDATE files f SET expires_at = now() FROM batches b LEFT JOIN jobs j ON j.id = b.id
    WHERE f.id = b.lines AND f.purpose = '{LINES}' AND f.stored_at IS NOT NULL AND f.expires_at IS NULL
      AND CASE WHEN j.id IS NULL THEN b.created_at ELSE j.results_gone_at END < now() - interval '30 days'
""")  # noqa: S608 - no input in it

_FORGET = text("DELETE FROM files WHERE id = ANY (CAST(:ids AS uuid[]))")
_KNOWN = text("SELECT id FROM files WHERE id = ANY (CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is there. `expires_at`: nobody sees it from then on; None: it is kept for ever."""

    id: UUID
    purpose: str
    filename: str
    size: int
    created_at: datetime
    expires_at: datetime | None


def plan(
    connection: Connection, file_id: UUID, *, tenant: str, purpose: str, filename: str, size: int
) -> None:
    """A file of `size` bytes will be put: what is not there within `PUT_S` is swept."""
    values = {"id": file_id, "tenant": tenant, "purpose": purpose, "filename": filename, "size": size}
    connection.execute(_PLAN, values | {"good_s": PUT_S})


def stored(connection: Connection, file_id: UUID, *, kept_s: float | None) -> StoredFile | None:
    """A planned file is there, and is kept for so many seconds from its plan on; None: it came too late.

    Args:
        kept_s: None: for ever.
    """
    row = connection.execute(_STORED, {"id": file_id, "kept_s": kept_s}).first()
    return None if row is None else StoredFile(*row)


def find(connection: Connection, file_id: UUID, *, tenant: str) -> StoredFile | None:
    """A file of the tenant, unless its time is over."""
    row = connection.execute(_FIND, {"id": file_id, "tenant": tenant}).first()
    return None if row is None else StoredFile(*row)


def size_of_lines(connection: Connection, file_id: UUID, *, tenant: str) -> int | None:
    """Bytes of the file that is kept of a batch; None when it is kept no longer."""
    found: int | None = connection.execute(_LINES, {"id": file_id, "tenant": tenant}).scalar()
    return found


def listing(
    connection: Connection, *, tenant: str, after: UUID, newest: bool, limit: int
) -> list[StoredFile]:
    """The tenant's files behind `after`, newest or oldest first."""
    values = {"tenant": tenant, "after": after, "newest": newest, "limit": limit}
    return [StoredFile(*row) for row in connection.execute(_LIST, values)]


def drop(connection: Connection, file_id: UUID, *, tenant: str) -> bool:
    """Ends the time of a file; False when the tenant has none of that id."""
    return connection.execute(_DROP, {"id": file_id, "tenant": tenant}).first() is not None


def expired(connection: Connection, *, after_s: float, limit: int) -> list[UUID]:
    """Files whose time was over more than `after_s` seconds ago, when nobody reads them any more."""
    connection.execute(_LET_GO)
    return list(connection.execute(_EXPIRED, {"after_s": after_s, "limit": limit}).scalars())


def forget(connection: Connection, ids: Sequence[UUID]) -> None:
    """Deletes the rows of files whose objects are gone."""
    connection.execute(_FORGET, {"ids": list(ids)})


def known(connection: Connection, ids: Collection[UUID]) -> set[UUID]:
    """Those of some ids that are files."""
    return set(connection.execute(_KNOWN, {"ids": list(ids)}).scalars())
