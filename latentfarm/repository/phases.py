"""Datasets that the scheduler has something to do for: whose manifest is to be checked, whose rows come in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text

from latentfarm.repository import sets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row

    from latentfarm.repository.sets import Dataset

AT_ONCE = 20
"""Datasets that are looked at in one go."""
FIRST = UUID(int=0)
"""Before all of them."""

# A tenant with many must not keep the first ones of the others from being seen.
_BUSY = text("""
    SELECT id, tenant, row_number() OVER (PARTITION BY tenant ORDER BY id) AS turn FROM datasets
    WHERE phase = :phase ORDER BY turn, id LIMIT :most
""")
_IN_PHASE = text(
    "SELECT id, tenant FROM datasets WHERE phase = :phase AND id > :after ORDER BY id LIMIT :most"
)

# Of the session: a manifest is read for minutes, and a transaction that long would keep old rows from being swept.
_HOLD = text("SELECT pg_try_advisory_lock(hashtextextended(CAST(:id AS text), 4713))")


def busy(connection: Connection, phase: str) -> list[Dataset]:
    """Up to `AT_ONCE` datasets in that phase: the oldest of each tenant first, then the second ones, and so on."""
    return _datasets(connection, connection.execute(_BUSY, {"phase": phase, "most": AT_ONCE}).all())


def in_phase(connection: Connection, phase: str, after: UUID = FIRST) -> list[Dataset]:
    """Up to `AT_ONCE` datasets in that phase, oldest first; those behind `after`."""
    values = {"phase": phase, "after": after, "most": AT_ONCE}
    return _datasets(connection, connection.execute(_IN_PHASE, values).all())


def _datasets(connection: Connection, rows: Iterable[Row[tuple[object, ...]]]) -> list[Dataset]:
    found = (sets.get(connection, row.id, tenant=row.tenant) for row in rows)
    return [one for one in found if one is not None]


def hold(connection: Connection, dataset_id: UUID) -> bool:
    """Keeps others from a dataset while the connection lasts; False when one of them is at it."""
    return bool(connection.execute(_HOLD, {"id": dataset_id}).scalar_one())
