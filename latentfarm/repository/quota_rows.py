"""The rows of quotas: set by who runs the farm; what is kept is counted by the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.repository.quotas import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

LEAST_S, PART = 60.0, 0.02
"""Seconds between two counts of a tenant at least, and the part of the time that counting may take."""

# Only what is named changes.
_SET = text("""
    INSERT INTO quotas AS q (tenant, max_cost_in_flight, max_cost_per_day, max_storage_bytes)
    VALUES (:tenant, CAST(:max_cost_in_flight AS float8), CAST(:max_cost_per_day AS float8), CAST(:max_storage_bytes AS bigint))
    ON CONFLICT (tenant) DO UPDATE SET
        max_cost_in_flight = CASE WHEN 'max_cost_in_flight' = ANY (CAST(:named AS text[]))
            THEN excluded.max_cost_in_flight ELSE q.max_cost_in_flight END,
        max_cost_per_day = CASE WHEN 'max_cost_per_day' = ANY (CAST(:named AS text[]))
            THEN excluded.max_cost_per_day ELSE q.max_cost_per_day END,
        max_storage_bytes = CASE WHEN 'max_storage_bytes' = ANY (CAST(:named AS text[]))
            THEN excluded.max_storage_bytes ELSE q.max_storage_bytes END
""")

_DUE = text("""
    SELECT tenant FROM quotas WHERE max_storage_bytes IS NOT NULL AND count_due <= clock_timestamp()
    ORDER BY count_due LIMIT 1
""")

# Images by their rows; what datasets are packed in, by their shards.
_COUNT = text("""
    SELECT CAST(
        coalesce((SELECT sum(o.size) FROM jobs j JOIN renders r ON r.job_id = j.id JOIN objects o ON o.render_id = r.id
                  WHERE j.tenant = :tenant AND o.kind = 'image' AND o.state = 'visible'), 0)
      + coalesce((SELECT sum(CAST(f ->> 'size' AS bigint)) FROM jobs j JOIN shards s ON s.dataset_id = j.id
                  CROSS JOIN jsonb_array_elements(s.files) AS f
                  WHERE j.tenant = :tenant AND j.kind = 'dataset' AND j.results_gone_at IS NULL), 0) AS bigint) AS size,
      CAST(EXTRACT(EPOCH FROM clock_timestamp() - statement_timestamp()) AS float) AS took_s
""")

_COUNTED = text("""
    UPDATE quotas SET storage_bytes = :size, counted_at = now(),
        count_due = clock_timestamp() + make_interval(secs => CAST(:rest_s AS float))
    WHERE tenant = :tenant
""")


def change(connection: Connection, tenant: str, wanted: Mapping[str, Any]) -> None:
    """Sets what is named of the quotas, None: no limit. What is kept is counted at once where that gets one.

    Before the tenant's other row is written, if both are: that is the order in which jobs that come in lock them.
    """
    named = [name for name in FIELDS if name in wanted]
    if not named:
        return
    values = dict.fromkeys(FIELDS) | {name: wanted[name] for name in named}
    connection.execute(_SET, values | {"tenant": tenant, "named": named})
    if wanted.get("max_storage_bytes") is not None:
        count(connection, tenant)


def count_due(connection: Connection) -> str | None:
    """Counts what the tenant keeps whose turn it is; returns its name."""
    tenant: str | None = connection.execute(_DUE).scalar()
    if tenant is not None:
        count(connection, tenant)
    return tenant


def count(connection: Connection, tenant: str) -> None:
    """Counts what a tenant keeps: the images and files that somebody is led to."""
    row = connection.execute(_COUNT, {"tenant": tenant}).one()
    rest_s = max(LEAST_S, row.took_s / PART)
    connection.execute(_COUNTED, {"tenant": tenant, "size": row.size, "rest_s": rest_s})
