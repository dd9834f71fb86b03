"""The rows of datasets that were thrown away: they go once nothing of them lies in the bucket, some at a time.

A row of `objects` or `checkpoints` is all that knows of what lies there, and is found by its render. So renders wait for
the sweeps that delete objects, and the dataset for its files, see `leftovers`. Whatever dies in between, the next sweep
goes on where the last commit was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.states import LIVE

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

# Nothing is left over in its folders, and all of its images were looked at.
_NEXT = text("""
    SELECT d.id, coalesce(d.emptied_to, -2147483648) AS first FROM datasets d LEFT JOIN jobs j ON j.id = d.id
    WHERE d.deleted_at IS NOT NULL AND d.untidy_since IS NULL AND j.clear_from IS NULL
    ORDER BY d.emptied_at NULLS FIRST, d.id LIMIT 1 FOR UPDATE OF d SKIP LOCKED
""")

# From where the last sweep was: the index still has the rows before, until they are vacuumed.
_RENDERS = text("""
    SELECT id, ordinal FROM renders WHERE job_id = :id AND ordinal >= :first ORDER BY ordinal LIMIT :limit
""")

_NEEDED = text("""
    SELECT EXISTS (SELECT FROM objects WHERE render_id = ANY (CAST(:ids AS bigint[])))
        OR EXISTS (SELECT FROM checkpoints WHERE render_id = ANY (CAST(:ids AS bigint[])))
        OR EXISTS (SELECT FROM renders WHERE id = ANY (CAST(:ids AS bigint[])) AND state = ANY (CAST(:live AS int[])))
""")

_OF_RENDERS = tuple(
    text(f"DELETE FROM {table} WHERE {column} = ANY (CAST(:ids AS bigint[]))")  # noqa: S608 - no input in it
    for table, column in (
        ("attempts", "render_id"),
        ("redraws", "render_id"),
        ("render_sources", "render_id"),
        ("renders", "id"),
    )
)

_SHARDS = text("""
    DELETE FROM shards WHERE id IN (SELECT id FROM shards WHERE dataset_id = :id ORDER BY number, part LIMIT :limit)
""")

_REST = (
    text("DELETE FROM dataset_parts WHERE dataset_id = :id"),
    text("DELETE FROM job_inputs WHERE job_id = :id"),
    text("DELETE FROM jobs WHERE id = :id"),
    text("DELETE FROM datasets WHERE id = :id"),
)

_LOOKED = text("""
    UPDATE datasets SET emptied_at = clock_timestamp(), emptied_to = coalesce(CAST(:to AS int), emptied_to) WHERE id = :id
""")


def empty_next(connection: Connection, *, limit: int) -> tuple[int, int]:
    """Deletes rows of the dataset that was looked at longest ago; its own when there are no others.

    Args:
        limit: renders, each with its attempts, and shards.

    Returns:
        How many of these were deleted, and how many datasets: 1 or 0.
    """
    found = connection.execute(_NEXT).first()
    if found is None:
        return 0, 0
    values: dict[str, Any] = {"id": found.id, "first": found.first, "limit": limit}
    rows = connection.execute(_RENDERS, values).all()
    if not _drop(connection, [row.id for row in rows]):
        _looked(connection, found.id, None)
        return 0, 0
    shards = 0
    if len(rows) < limit:
        shards = connection.execute(_SHARDS, values | {"limit": limit - len(rows)}).rowcount
    done = len(rows) + shards
    if done < limit:
        for statement in _REST:
            connection.execute(statement, {"id": found.id})
        return done, 1
    _looked(connection, found.id, rows[-1].ordinal + 1 if rows else None)
    return done, 0


def _drop(connection: Connection, ids: list[int]) -> bool:
    """Deletes renders and what belongs to them; False, and none, while something of one is needed yet."""
    needed = {"ids": ids, "live": [int(state) for state in LIVE]}
    if connection.execute(_NEEDED, needed).scalar_one():
        return False
    for statement in _OF_RENDERS:
        connection.execute(statement, {"ids": ids})
    return True


def _looked(connection: Connection, dataset_id: UUID, to: int | None) -> None:
    connection.execute(_LOOKED, {"id": dataset_id, "to": to})
