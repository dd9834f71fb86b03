"""The rows of tenants: what each may have, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

_COLUMNS = """
    name, weight, max_in_flight, max_queued, paused_at, in_flight, used_s, deficit_s,
    recent_s / nullif(recent_starts, 0) AS render_s
"""

_GET = text(f"SELECT {_COLUMNS} FROM tenants WHERE name = :name")  # noqa: S608 - no input in it

_LIST = text(f"SELECT {_COLUMNS} FROM tenants WHERE name > :after ORDER BY name LIMIT :limit")  # noqa: S608 - the same

_FIRST = text(f"SELECT {_COLUMNS} FROM tenants ORDER BY name LIMIT :limit")  # noqa: S608 - the same

# Only what is named changes: a limit that somebody else sets at the same moment stays as it was set.
_SET = text(f"""
    INSERT INTO tenants AS t (name, weight, max_in_flight, max_queued, paused_at)
    VALUES (:name, coalesce(CAST(:weight AS float8), 1), :max_in_flight, :max_queued,
            CASE WHEN CAST(:paused AS boolean) THEN now() END)
    ON CONFLICT (name) DO UPDATE SET
        weight = CASE WHEN 'weight' = ANY (CAST(:named AS text[])) THEN excluded.weight ELSE t.weight END,
        max_in_flight = CASE WHEN 'max_in_flight' = ANY (CAST(:named AS text[])) THEN excluded.max_in_flight
                             ELSE t.max_in_flight END,
        max_queued = CASE WHEN 'max_queued' = ANY (CAST(:named AS text[])) THEN excluded.max_queued
                          ELSE t.max_queued END,
        paused_at = CASE WHEN NOT 'paused' = ANY (CAST(:named AS text[])) THEN t.paused_at
                         WHEN excluded.paused_at IS NOT NULL THEN coalesce(t.paused_at, excluded.paused_at) END
    RETURNING {_COLUMNS}
""")  # noqa: S608 - the same


@dataclass(frozen=True, slots=True)
class Tenant:
    """A row of `tenants`. `render_s`: GPU-seconds of one of its renders, of late."""

    name: str
    weight: float
    max_in_flight: int | None
    max_queued: int | None
    paused_at: datetime | None
    in_flight: int
    used_s: float
    deficit_s: float
    render_s: float | None


def get(connection: Connection, name: str) -> Tenant | None:
    """The tenant of that name; None: nothing of it was ever served, and nobody has set anything."""
    row = connection.execute(_GET, {"name": name}).first()
    return None if row is None else Tenant(*row)


def listing(connection: Connection, *, after: str | None, limit: int) -> list[Tenant]:
    """Tenants by name, those behind `after`; the one without a name is the first of all."""
    if after is None:
        return [Tenant(*row) for row in connection.execute(_FIRST, {"limit": limit})]
    return [Tenant(*row) for row in connection.execute(_LIST, {"after": after, "limit": limit})]


def change(connection: Connection, name: str, wanted: Mapping[str, Any]) -> Tenant:
    """Sets what is named of `weight`, `max_in_flight`, `max_queued` and `paused`; makes the row when there is none.

    Tells the scheduler: there may be something to send now.
    """
    values = dict.fromkeys(("weight", "max_in_flight", "max_queued", "paused")) | dict(wanted)
    row = connection.execute(_SET, values | {"name": name, "named": list(wanted)}).one()
    notify(connection, CHANNEL_WORK, "")
    return Tenant(*row)
