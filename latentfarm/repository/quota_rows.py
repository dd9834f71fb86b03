"""The rows of quotas: set by who runs the farm; what is kept is counted by the scheduler."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.repository.keeping import kept_bytes
from latentfarm.repository.quotas import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

LEAST_S, PART = 60.0, 0.02
"""Seconds between two counts of a tenant at least, and the part of the time that counting may take."""
COUNT_S = 2.0
"""Seconds after which a sweep counts no further tenant."""

# Only what is named changes.
_SET = text("""
    INSERT INTO quotas AS q (tenant, max_cost_in_flight, max_cost_per_day, max_storage_bytes, max_files)
    VALUES (:tenant, CAST(:max_cost_in_flight AS float8), CAST(:max_cost_per_day AS float8), CAST(:max_storage_bytes AS bigint),
            CAST(:max_files AS int))
    ON CONFLICT (tenant) DO UPDATE SET
        max_cost_in_flight = CASE WHEN 'max_cost_in_flight' = ANY (CAST(:named AS text[]))
            THEN excluded.max_cost_in_flight ELSE q.max_cost_in_flight END,
        max_cost_per_day = CASE WHEN 'max_cost_per_day' = ANY (CAST(:named AS text[]))
            THEN excluded.max_cost_per_day ELSE q.max_cost_per_day END,
        max_storage_bytes = CASE WHEN 'max_storage_bytes' = ANY (CAST(:named AS text[]))
            THEN excluded.max_storage_bytes ELSE q.max_storage_bytes END,
        max_files = CASE WHEN 'max_files' = ANY (CAST(:named AS text[])) THEN excluded.max_files ELSE q.max_files END
""")

_DUE = text("""
    SELECT tenant FROM quotas WHERE max_storage_bytes IS NOT NULL AND count_due <= clock_timestamp()
    ORDER BY count_due
""")

# As of the start of the transaction, so that what has ended since counts besides.
_COUNTED = text("""
    UPDATE quotas SET storage_bytes = :size, counted_at = now(),
        count_due = clock_timestamp() + make_interval(secs => CAST(:rest_s AS float))
    WHERE tenant = :tenant
""")


@dataclass(frozen=True, slots=True)
class _Count:
    tenant: str
    size: int
    rest_s: float


def change(connection: Connection, tenant: str, wanted: Mapping[str, Any]) -> None:
    """Sets what is named of the quotas, None: no limit. What is kept is counted at once where that gets one.

    Before the tenant's other row is written, if both are: that is the order in which jobs that come in lock them.
    """
    named = [name for name in FIELDS if name in wanted]
    if not named:
        return
    # Before the row is locked: jobs of the tenant wait for whoever holds it.
    count = None if wanted.get("max_storage_bytes") is None else _count(connection, tenant)
    values = dict.fromkeys(FIELDS) | {name: wanted[name] for name in named}
    connection.execute(_SET, values | {"tenant": tenant, "named": named})
    if count is not None:
        _store(connection, count)


def count_due(connection: Connection, *, within_s: float = COUNT_S) -> list[str]:
    """Counts what tenants keep whose turn it is, for about so long; returns their names."""
    until, counts = time.monotonic() + within_s, list[_Count]()
    for tenant in connection.execute(_DUE).scalars().all():
        counts.append(_count(connection, tenant))
        if time.monotonic() >= until:
            break
    # All of them at the end, in the order of their names: their rows are locked for a moment, and by nobody in a circle.
    for count in sorted(counts, key=lambda one: one.tenant):
        _store(connection, count)
    return [count.tenant for count in counts]


def _count(connection: Connection, tenant: str) -> _Count:
    began = time.monotonic()
    size = kept_bytes(connection, tenant)
    return _Count(tenant, size, max(LEAST_S, (time.monotonic() - began) / PART))


def _store(connection: Connection, count: _Count) -> None:
    values = {"tenant": count.tenant, "size": count.size, "rest_s": count.rest_s}
    connection.execute(_COUNTED, values)
