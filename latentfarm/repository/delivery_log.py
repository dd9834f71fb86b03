"""What was sent to a webhook, read and sent again by its tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_DELIVERIES, notify
from latentfarm.webhooks.hook import Delivery, DeliveryState

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_COLUMNS = "id, webhook_id, job_id, type, url, state, tries, created_at, due_at, ended_at, log"

_LIST = text(f"""
    SELECT {_COLUMNS} FROM deliveries
    WHERE webhook_id = :webhook AND tenant = :tenant AND id < :before
      AND (CAST(:state AS text) IS NULL OR state = :state) ORDER BY id DESC LIMIT :limit
""")  # noqa: S608 - no input in it

_AGAIN = """
    UPDATE deliveries SET state = 'due', due_at = now(), tries = 0, ended_at = NULL, claims = claims + 1
"""

_REPLAY = text(f"""
    {_AGAIN} WHERE id = :id AND webhook_id = :webhook AND tenant = :tenant RETURNING {_COLUMNS}
""")

# A batch of them at a time, oldest first: nobody holds the locks of a million rows.
_REPLAY_SINCE = text(f"""
    {_AGAIN} WHERE id IN (
        SELECT id FROM deliveries
        WHERE webhook_id = :webhook AND tenant = :tenant AND state <> 'due' AND id > :after
          AND created_at >= :since AND created_at < :until
          AND (CAST(:state AS text) IS NULL OR state = :state)
        ORDER BY id LIMIT :limit FOR UPDATE)
    RETURNING id
""")  # noqa: S608 - the same


def listing(
    connection: Connection, webhook_id: UUID, *, tenant: str, before: UUID, state: str | None, limit: int
) -> list[Delivery]:
    """Deliveries of a webhook that are older than `before`, newest first; of one state or of all."""
    values = {"webhook": webhook_id, "tenant": tenant, "before": before, "state": state, "limit": limit}
    return [_delivery(row) for row in connection.execute(_LIST, values)]


def replay(connection: Connection, webhook_id: UUID, delivery_id: UUID, *, tenant: str) -> Delivery | None:
    """Makes a delivery due again, under its old id, however it had ended; None when there is none."""
    values = {"webhook": webhook_id, "id": delivery_id, "tenant": tenant}
    row = connection.execute(_REPLAY, values).first()
    if row is not None:
        notify(connection, CHANNEL_DELIVERIES, "")
    return None if row is None else _delivery(row)


def replay_range(
    connection: Connection,
    webhook_id: UUID,
    *,
    tenant: str,
    since: datetime,
    until: datetime,
    state: str | None,
    after: UUID,
    limit: int,
) -> list[UUID]:
    """Makes those due again that were written in a time and have ended; returns the ids of this batch, rising."""
    values = {"webhook": webhook_id, "tenant": tenant, "since": since, "until": until}
    values |= {"state": state, "after": after, "limit": limit}
    found = sorted(connection.execute(_REPLAY_SINCE, values).scalars())
    if found:
        notify(connection, CHANNEL_DELIVERIES, "")
    return found


def _delivery(row: Row[Any]) -> Delivery:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Delivery(**fields | {"state": DeliveryState(fields["state"])})
