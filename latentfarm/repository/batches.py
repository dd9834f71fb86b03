"""Batches: what was asked, what of it can be rendered, and when it has to have ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.states import RenderState

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_ADD = text("""
    INSERT INTO batches (id, tenant, fingerprint, input_file, endpoint, completion_window, metadata, requests, refused,
                         single, errors, lines, watched, expires_at)
    VALUES (:id, :tenant, :fingerprint, :input_file, :endpoint, :completion_window, CAST(:metadata AS jsonb), :requests,
            :refused, :single, CAST(:errors AS jsonb), :lines, :watched, now() + make_interval(hours => :hours))
""")

_COLUMNS = """
    id, created_at, input_file, endpoint, completion_window, metadata, requests, refused, single, errors, lines,
    expires_at, cancelled_at, expired_at, output_deleted_at, errors_deleted_at
"""
_GET = text(f"SELECT {_COLUMNS} FROM batches WHERE id = :id AND tenant = :tenant")  # noqa: S608 - no input in it
_LIST = text(f"""
    SELECT {_COLUMNS} FROM batches WHERE tenant = :tenant AND id < :before ORDER BY id DESC LIMIT :limit
""")  # noqa: S608 - no input in it
_RECENT = text("""
    SELECT id FROM batches WHERE tenant = :tenant AND fingerprint = :fingerprint
      AND created_at > now() - make_interval(secs => :within_s)
    ORDER BY id DESC LIMIT 1
""")

_CANCEL = text("""
    UPDATE batches SET cancelled_at = now(), watched = false
    WHERE id = :id AND tenant = :tenant AND cancelled_at IS NULL AND expired_at IS NULL
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = :id AND j.finished_at IS NOT NULL)
    RETURNING id
""")

_DUE = text("""
    SELECT b.id, b.tenant, j.finished_at IS NOT NULL AS ended FROM batches b LEFT JOIN jobs j ON j.id = b.id
    WHERE b.watched AND b.expires_at < now() ORDER BY b.expires_at LIMIT :limit FOR UPDATE OF b SKIP LOCKED
""")
_SETTLE = text("""
    UPDATE batches SET watched = false, expired_at = CASE WHEN :ended THEN NULL ELSE now() END WHERE id = :id
""")

_DROP_OUTPUT = text("""
    WITH dropped AS (UPDATE batches SET output_deleted_at = now()
                     WHERE id = :id AND tenant = :tenant AND output_deleted_at IS NULL RETURNING id)
    UPDATE jobs SET results_gone_at = now(), clear_from = 0
    WHERE id = (SELECT id FROM dropped) AND finished_at IS NOT NULL AND results_gone_at IS NULL
""")
_DROP_ERRORS = text("UPDATE batches SET errors_deleted_at = now() WHERE id = :id AND tenant = :tenant")

_MISSING = text("""
    SELECT r.ordinal, r.state, a.message FROM renders r
    LEFT JOIN shards s ON s.id = r.shard_id
    LEFT JOIN LATERAL (SELECT * FROM attempts t WHERE t.render_id = r.id AND t.error_class IS NOT NULL
                       ORDER BY t.fence DESC LIMIT 1) AS a ON r.state = :failed
    WHERE r.job_id = :id AND r.ordinal >= :first AND NOT (r.state = :succeeded AND coalesce(s.state, '') = 'sealed')
    ORDER BY r.ordinal LIMIT :limit
""")
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    """A row of `batches`."""

    id: UUID
    created_at: datetime
    input_file: UUID
    endpoint: str
    completion_window: str
    metadata: dict[str, str]
    requests: int
    refused: int
    single: bool
    errors: list[dict[str, Any]]
    lines: UUID | None
    expires_at: datetime
    cancelled_at: datetime | None
    expired_at: datetime | None
    output_deleted_at: datetime | None
    errors_deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Missing:
    """An image that is in no shard. `message`: why it failed; None: it did not."""

    ordinal: int
    failed: bool
    message: str | None


def add(connection: Connection, batch_id: UUID, *, tenant: str, hours: int, values: dict[str, Any]) -> None:
    """Stores a batch that is to have ended in so many hours.

    Args:
        values: the columns of `batches`.
    """
    texts = {"metadata": json.dumps(values["metadata"]), "errors": json.dumps(values["errors"])}
    connection.execute(_ADD, values | texts | {"id": batch_id, "tenant": tenant, "hours": hours})


def get(connection: Connection, batch_id: UUID, *, tenant: str) -> Batch | None:
    """The tenant's batch of that id."""
    row = connection.execute(_GET, {"id": batch_id, "tenant": tenant}).first()
    return None if row is None else Batch(*row)


def listing(connection: Connection, *, tenant: str, before: UUID, limit: int) -> list[Batch]:
    """Batches older than `before`, newest first."""
    rows = connection.execute(_LIST, {"tenant": tenant, "before": before, "limit": limit})
    return [Batch(*row) for row in rows]


def recent(connection: Connection, *, tenant: str, fingerprint: bytes, within_s: float) -> UUID | None:
    """The last batch of which just this was asked, not longer ago than that."""
    values = {"tenant": tenant, "fingerprint": fingerprint, "within_s": within_s}
    found: UUID | None = connection.execute(_RECENT, values).scalar()
    return found


def mark_cancelled(connection: Connection, batch_id: UUID, *, tenant: str) -> bool:
    """Writes down that its user has taken a batch back; False when there is nothing to take back."""
    return connection.execute(_CANCEL, {"id": batch_id, "tenant": tenant}).first() is not None


def drop_output(connection: Connection, batch_id: UUID, *, tenant: str) -> None:
    """The images of a batch that has ended go: its user has deleted the file that holds them."""
    connection.execute(_DROP_OUTPUT, {"id": batch_id, "tenant": tenant})


def drop_errors(connection: Connection, batch_id: UUID, *, tenant: str) -> None:
    """Nobody wants to read what went wrong any more."""
    connection.execute(_DROP_ERRORS, {"id": batch_id, "tenant": tenant})


def expire(connection: Connection, *, limit: int) -> list[tuple[UUID, str]]:
    """Writes down which batches have not ended in time; their ids and tenants. What ended is watched no longer."""
    due = connection.execute(_DUE, {"limit": limit}).all()
    for row in due:
        connection.execute(_SETTLE, {"id": row.id, "ended": row.ended})
    return [(row.id, row.tenant) for row in due if not row.ended]


def missing(connection: Connection, batch_id: UUID, first: int = 0) -> list[Missing]:
    """Images from ordinal `first` on that no sealed shard holds, a page of them."""
    states = {"failed": int(RenderState.FAILED), "succeeded": int(RenderState.SUCCEEDED)}
    rows = connection.execute(_MISSING, states | {"id": batch_id, "first": first, "limit": _PAGE})
    failed = int(RenderState.FAILED)
    return [Missing(row.ordinal, row.state == failed, row.message) for row in rows]
