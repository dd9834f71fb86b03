"""The rows of webhooks: made, found, changed, rotated and deleted by their tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.webhooks.hook import Hook, Reason
from latentfarm.webhooks.told import default_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Connection, Row

MOST = 20
"""Webhooks of one tenant, besides its default."""

_COLUMNS = """
    id, tenant, url, events, format, created_at, CASE WHEN old_until > now() THEN old_until END AS old_until,
    failing_since, disabled_at, disabled_reason
"""

# Who makes one waits for who makes another of the same tenant, so that both are counted.
_LOCK = text("SELECT pg_advisory_xact_lock(4713, hashtext(:tenant))")

_ADD = text(f"""
    INSERT INTO webhooks (id, tenant, url, events, format, secret)
    SELECT :id, :tenant, :url, CAST(:events AS text[]), :format, :secret
    WHERE (SELECT count(*) FROM webhooks WHERE tenant = :tenant AND url IS NOT NULL) < :most
    RETURNING {_COLUMNS}
""")  # noqa: S608 - no input in it

_ADD_DEFAULT = text("""
    INSERT INTO webhooks (id, tenant, secret) VALUES (:id, :tenant, :secret) ON CONFLICT (id) DO NOTHING
""")

_SECRET = text("SELECT secret FROM webhooks WHERE id = :id")

_GET = text(f"SELECT {_COLUMNS} FROM webhooks WHERE id = :id AND tenant = :tenant")  # noqa: S608 - the same

_LIST = text(f"""
    SELECT {_COLUMNS} FROM webhooks WHERE tenant = :tenant AND url IS NOT NULL ORDER BY id
""")  # noqa: S608 - the same

# Only what is named changes. Whoever enables one, or leads it elsewhere, has mended it: it has days again.
_SET = text(f"""
    UPDATE webhooks SET
        url = CASE WHEN 'url' = ANY (CAST(:named AS text[])) THEN :url ELSE url END,
        events = CASE WHEN 'events' = ANY (CAST(:named AS text[])) THEN CAST(:events AS text[]) ELSE events END,
        format = CASE WHEN 'format' = ANY (CAST(:named AS text[])) THEN :format ELSE format END,
        failing_since = CASE WHEN 'enabled' = ANY (CAST(:named AS text[]))
                               OR ('url' = ANY (CAST(:named AS text[])) AND url <> :url) THEN NULL ELSE failing_since END,
        disabled_at = CASE WHEN NOT 'enabled' = ANY (CAST(:named AS text[])) THEN disabled_at
                           WHEN CAST(:enabled AS boolean) THEN NULL ELSE coalesce(disabled_at, now()) END,
        disabled_reason = CASE WHEN NOT 'enabled' = ANY (CAST(:named AS text[])) THEN disabled_reason
                               WHEN CAST(:enabled AS boolean) THEN NULL ELSE coalesce(disabled_reason, :asked) END
    WHERE id = :id AND tenant = :tenant AND url IS NOT NULL RETURNING {_COLUMNS}
""")  # noqa: S608 - the same

_ROTATE = text(f"""
    UPDATE webhooks SET old_secret = secret, secret = :secret,
        old_until = now() + make_interval(secs => CAST(:overlap_s AS float))
    WHERE id = :id AND tenant = :tenant RETURNING {_COLUMNS}
""")  # noqa: S608 - the same

_DELETE = text("""
    DELETE FROM webhooks WHERE id = :id AND tenant = :tenant AND url IS NOT NULL RETURNING id
""")

_DISABLE = text("""
    UPDATE webhooks SET disabled_at = now(), disabled_reason = :reason
    WHERE id = :id AND disabled_at IS NULL AND url = :url RETURNING id
""")

_GIVE_UP = text("""
    UPDATE deliveries SET state = 'failed', ended_at = now() WHERE webhook_id = :id AND state = 'due'
""")


def add(connection: Connection, hook_id: UUID, secret: str, *, tenant: str, **fields: Any) -> Hook | None:
    """Stores a webhook; None when the tenant has as many as it may.

    Args:
        fields: `url`, `events` and `format`.
    """
    connection.execute(_LOCK, {"tenant": tenant})
    values = {"id": hook_id, "tenant": tenant, "secret": secret, "most": MOST}
    row = connection.execute(_ADD, values | fields | {"events": list(fields["events"])}).first()
    return None if row is None else _hook(row)


def ensure_default(connection: Connection, tenant: str, secret: str) -> None:
    """Makes the default webhook of a tenant, unless it has one: with this secret."""
    connection.execute(_ADD_DEFAULT, {"id": default_id(tenant), "tenant": tenant, "secret": secret})


def default_secret(connection: Connection, tenant: str) -> str | None:
    """The secret of a tenant's default webhook; None when it has none yet."""
    found: str | None = connection.execute(_SECRET, {"id": default_id(tenant)}).scalar()
    return found


def get(connection: Connection, hook_id: UUID, *, tenant: str) -> Hook | None:
    """One webhook of a tenant."""
    row = connection.execute(_GET, {"id": hook_id, "tenant": tenant}).first()
    return None if row is None else _hook(row)


def listing(connection: Connection, *, tenant: str) -> list[Hook]:
    """All webhooks of a tenant but its default, in the order in which they were made."""
    return [_hook(row) for row in connection.execute(_LIST, {"tenant": tenant})]


def change(connection: Connection, hook_id: UUID, wish: Mapping[str, Any], *, tenant: str) -> Hook | None:
    """Changes what is named of `url`, `events`, `format` and `enabled`. One that is disabled has nothing due.

    Returns:
        The webhook; None when the tenant has none of that id.
    """
    values = {"url": None, "events": [], "format": "", "enabled": True, **wish}
    named = {"named": sorted(wish), "asked": Reason.ASKED.value, "id": hook_id, "tenant": tenant}
    row = connection.execute(_SET, values | {"events": list(values["events"])} | named).first()
    if row is not None and not values["enabled"]:
        connection.execute(_GIVE_UP, {"id": hook_id})
    return None if row is None else _hook(row)


def rotate(
    connection: Connection, hook_id: UUID, secret: str, *, tenant: str, overlap_s: float
) -> Hook | None:
    """Gives a webhook a new secret; the one before signs too for so many seconds."""
    values = {"id": hook_id, "tenant": tenant, "secret": secret, "overlap_s": overlap_s}
    row = connection.execute(_ROTATE, values).first()
    return None if row is None else _hook(row)


def delete(connection: Connection, hook_id: UUID, *, tenant: str) -> bool:
    """Forgets a webhook, with what is due to it; False when the tenant has none of that id."""
    if connection.execute(_DELETE, {"id": hook_id, "tenant": tenant}).first() is None:
        return False
    connection.execute(_GIVE_UP, {"id": hook_id})
    return True


def disable(connection: Connection, hook_id: UUID, reason: Reason, *, url: str) -> bool:
    """Tells a webhook nothing more; False when that was so before, it leads elsewhere than to `url`, or is a default."""
    values = {"id": hook_id, "reason": reason.value, "url": url}
    if connection.execute(_DISABLE, values).first() is None:
        return False
    connection.execute(_GIVE_UP, {"id": hook_id})
    return True


def _hook(row: Row[Any]) -> Hook:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Hook(**fields | {"events": tuple(fields["events"])})
