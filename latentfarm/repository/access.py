"""Rows of API keys. Times are the database's, so that all processes agree when a key ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.api_keys import ApiKey, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

USED_S = 60
"""Seconds between two notes that a key was used."""

_COLUMNS = "prefix, tenant, name, scopes, created_at, expires_at, last_used_at, revoked_at, replaced_by, rate"
_USABLE = "(revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))"
_UNNOTED = f"(last_used_at IS NULL OR last_used_at <= now() - interval '{USED_S} seconds')"

_ADD = text(f"""
    INSERT INTO api_keys (prefix, tenant, name, digest, scopes, rate, expires_at)
    VALUES (:prefix, :tenant, :name, :digest, :scopes, :rate, now() + make_interval(secs => CAST(:good_s AS float)))
    ON CONFLICT (prefix) DO NOTHING RETURNING {_COLUMNS}
""")  # noqa: S608 - no input in it

_FIND = text(f"""
    SELECT {_COLUMNS}, digest, {_USABLE} AS usable, {_UNNOTED} AS unnoted FROM api_keys WHERE prefix = :prefix
""")  # noqa: S608 - no input in it

_NOTE = text(f"UPDATE api_keys SET last_used_at = now() WHERE prefix = :prefix AND {_UNNOTED}")  # noqa: S608

_LIST = text(f"""
    SELECT {_COLUMNS} FROM api_keys WHERE (CAST(:tenant AS text) IS NULL OR tenant = :tenant)
      AND (CAST(:after AS text) IS NULL
           OR (created_at, prefix) > (SELECT k.created_at, k.prefix FROM api_keys k WHERE k.prefix = :after))
    ORDER BY created_at, prefix LIMIT :limit
""")  # noqa: S608 - no input in it

_REVOKE = text(f"""
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = :prefix RETURNING {_COLUMNS}
""")  # noqa: S608 - no input in it

_LOCK = text(f"""
    SELECT {_COLUMNS}, {_USABLE} AS usable, EXTRACT(EPOCH FROM expires_at - created_at)::float AS good_s
    FROM api_keys WHERE prefix = :prefix FOR UPDATE
""")  # noqa: S608 - no input in it

_REPLACE = text("""
    UPDATE api_keys SET replaced_by = :by,
        expires_at = least(expires_at, now() + make_interval(secs => CAST(:overlap_s AS float)))
    WHERE prefix = :prefix
""")

_ANY_ADMIN = text(f"SELECT EXISTS (SELECT FROM api_keys WHERE 'admin' = ANY (scopes) AND {_USABLE})")  # noqa: S608


def add(
    connection: Connection,
    prefix: str,
    digest: bytes,
    *,
    tenant: str,
    name: str,
    scopes: Sequence[Scope],
    good_s: float | None,
    rate: str | None = None,
) -> ApiKey | None:
    """Stores a key that is good for `good_s` seconds, or for ever; None when there is one of that prefix."""
    values = {
        "prefix": prefix,
        "digest": digest,
        "tenant": tenant,
        "name": name,
        "good_s": good_s,
        "rate": rate,
    }
    row = connection.execute(_ADD, values | {"scopes": [str(scope) for scope in scopes]}).first()
    return None if row is None else _key(row)


def find(connection: Connection, prefix: str) -> tuple[ApiKey, bytes, bool, bool] | None:
    """A key, its digest, whether it is usable, and whether its use was not noted for a minute."""
    row = connection.execute(_FIND, {"prefix": prefix}).first()
    return None if row is None else (_key(row), bytes(row.digest), row.usable, row.unnoted)


def note_use(connection: Connection, prefix: str) -> None:
    """Notes that a key was used just now, unless that was noted in the last minute."""
    connection.execute(_NOTE, {"prefix": prefix})


def listing(
    connection: Connection, *, tenant: str | None = None, after: str | None = None, limit: int
) -> list[ApiKey]:
    """Keys in the order in which they were made, of one tenant or of all, behind the one called `after`."""
    return [
        _key(row) for row in connection.execute(_LIST, {"tenant": tenant, "after": after, "limit": limit})
    ]


def revoke(connection: Connection, prefix: str) -> ApiKey | None:
    """Ends a key for good. One that was revoked before stays so."""
    row = connection.execute(_REVOKE, {"prefix": prefix}).first()
    return None if row is None else _key(row)


def lock(connection: Connection, prefix: str) -> tuple[ApiKey, bool, float | None] | None:
    """A key that nobody else changes meanwhile, whether it is usable, and the seconds of its life in all."""
    row = connection.execute(_LOCK, {"prefix": prefix}).first()
    return None if row is None else (_key(row), row.usable, row.good_s)


def replace(connection: Connection, prefix: str, *, by: str, overlap_s: float) -> None:
    """Says what follows a key, which is good for so long beside it."""
    connection.execute(_REPLACE, {"prefix": prefix, "by": by, "overlap_s": overlap_s})


def any_admin(connection: Connection) -> bool:
    """Whether some usable key has the scope admin."""
    return bool(connection.execute(_ANY_ADMIN).scalar())


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        prefix=row.prefix,
        tenant=row.tenant,
        name=row.name,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        rate=row.rate,
    )
