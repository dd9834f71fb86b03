"""Uploads whose pictures the farm has seen: shown, and ended before their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.records import KeptUpload

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

_KEPT = text("""
    SELECT u.id, u.created_at, u.expires_at, i.sha256, i.size, i.format
    FROM uploads u JOIN inputs i ON i.sha256 = u.used_as AND i.stored_at IS NOT NULL
    WHERE u.tenant = :tenant AND u.expires_at > now() AND u.id = coalesce(CAST(:id AS uuid), u.id)
    ORDER BY u.id DESC LIMIT :limit
""")

# Not deleted: whoever sweeps uploads looks for what lies in the bucket by these rows.
_END = text("""
    UPDATE uploads SET expires_at = now()
    WHERE id = :id AND tenant = :tenant AND used_as IS NOT NULL AND expires_at > now()
""")


def find(connection: Connection, upload_id: UUID, *, tenant: str) -> KeptUpload | None:
    """An upload of the tenant, until it expires."""
    found = _read(connection, tenant, upload_id, 1)
    return found[0] if found else None


def newest(connection: Connection, *, tenant: str, limit: int) -> list[KeptUpload]:
    """Those of the tenant that have not expired, newest first."""
    return _read(connection, tenant, None, limit)


def end(connection: Connection, upload_id: UUID, *, tenant: str) -> bool:
    """Takes an upload back; jobs that started from it keep their picture. False: the tenant has none such."""
    return connection.execute(_END, {"id": upload_id, "tenant": tenant}).rowcount > 0


def _read(connection: Connection, tenant: str, upload_id: UUID | None, limit: int) -> list[KeptUpload]:
    values = {"tenant": tenant, "id": upload_id, "limit": limit}
    return [
        KeptUpload(row.id, row.created_at, row.expires_at, bytes(row.sha256), row.size, row.format)
        for row in connection.execute(_KEPT, values)
    ]
