"""What became of a render, claim by claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.evidence import Attempt
from latentfarm.states import Stage

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, Row

SHOWN = 20
"""Attempts of one render that are shown, the last ones; drains may add any number."""

# One row without a fence for an image that nobody has claimed. No host: whose machines they are is not
# for users.
_ATTEMPTS = text("""
    SELECT a.worker_id, a.fence, w.device, w.info ->> 'device_name' AS device_name, a.stage, a.started_at,
           a.ended_at, a.steps, a.outcome, a.error_class, a.message, a.charged, a.refunded
    FROM renders r JOIN jobs j ON j.id = r.job_id AND j.tenant = :tenant
    LEFT JOIN attempts a ON a.render_id = r.id LEFT JOIN workers w ON w.id = a.worker_id
    WHERE r.job_id = :job AND r.ordinal = :index ORDER BY a.fence DESC LIMIT :limit
""")


def attempts(connection: Connection, job_id: UUID, index: int, *, tenant: str) -> list[Attempt] | None:
    """The last claims of an image, oldest first; None when the tenant has no such image."""
    values = {"job": job_id, "index": index, "tenant": tenant, "limit": SHOWN}
    rows = connection.execute(_ATTEMPTS, values).all()
    return [_attempt(row) for row in reversed(rows) if row.fence is not None] if rows else None


def _attempt(row: Row[tuple[object, ...]]) -> Attempt:
    return Attempt(
        worker=row.worker_id,
        device=row.device or "",
        device_name=row.device_name,
        stage=Stage(row.stage),
        started_at=row.started_at,
        ended_at=row.ended_at,
        steps=row.steps,
        outcome=row.outcome,
        error_class=row.error_class,
        message=row.message,
        charged=row.charged,
        refunded=row.refunded,
    )
