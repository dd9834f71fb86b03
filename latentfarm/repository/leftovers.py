"""What lies in the bucket for a dataset, and that none of its records tells of.

Attempts that lost leave files, a dataset that is gone on with leaves the old ones at the top, and a spool is needed no
more once nothing can be packed. Rows that told of each of them would be wrong where it matters: a file of a shard has
one name, whoever makes it, so the name that a dead attempt left is that of the next one's file. So a dataset is
*untidy* from whatever may leave something, and once it rests its folder is listed, and held against its records.

Whoever goes on with a dataset locks its row, as the sweep does while it deletes: either the files are gone before
anybody looks for them, or the sweep finds that the dataset does not rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from sqlalchemy import Connection

# Those that are at work are few, and all that are in the index besides those that have just ended.
_NEXT = text("""
    SELECT d.id, d.tidied_to, d.published, d.phase = 'rejected' OR j.results_gone_at IS NOT NULL AS gone,
           coalesce(j.state IN ('succeeded', 'cancelled'), true) AS packed
    FROM datasets d LEFT JOIN jobs j ON j.id = d.id
    WHERE d.untidy_since < now() - make_interval(secs => :after_s)
      AND (d.phase = 'rejected' OR d.phase = 'inserted' OR j.cancelled_at IS NOT NULL)
      AND (j.id IS NULL OR j.finished_at < now() - make_interval(secs => :after_s))
    ORDER BY d.untidy_since LIMIT 1 FOR UPDATE OF d SKIP LOCKED
""")

_NO_PARTS = text("DELETE FROM dataset_parts WHERE dataset_id = :id")

_KNOWN = text("""
    SELECT f ->> 'key' FROM shards s, jsonb_array_elements(s.files) AS f
    WHERE s.dataset_id = :id AND f ->> 'key' = ANY (CAST(:keys AS text[]))
    UNION
    SELECT key FROM dataset_parts WHERE dataset_id = :id AND key = ANY (CAST(:keys AS text[]))
""")

_GO_ON = text("UPDATE datasets SET tidied_to = :to WHERE id = :id")

_DONE = text("UPDATE datasets SET untidy_since = NULL, tidied_to = '' WHERE id = :id")

_TOUCH = text("""
    UPDATE datasets SET untidy_since = now(), tidied_to = '' WHERE id = :id AND phase IN ('inserted', 'rejected')
    RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Untidy:
    """A dataset that rests, and of which something may be left over.

    Attributes:
        tidied_to: key up to which its objects were looked at.
        top: keys of the files at the top.
        gone: nothing of it is kept any more.
        packed: nothing more of it will be packed, unless its manifest comes again.
    """

    id: UUID
    tidied_to: str
    top: tuple[str, ...]
    gone: bool
    packed: bool


def lock_next(connection: Connection, *, after_s: float) -> Untidy | None:
    """The next dataset that may be tidied, locked until the transaction ends.

    Args:
        after_s: it has rested for so long: nobody who wrote for it is still at it, and links to it have ended.
    """
    row = connection.execute(_NEXT, {"after_s": after_s}).first()
    if row is None:
        return None
    top = tuple(file["key"] for file in row.published) if isinstance(row.published, list) else ()
    return Untidy(row.id, row.tidied_to, top, row.gone, row.packed)


def forget_spool(connection: Connection, dataset_id: UUID) -> bool:
    """Takes the spool out of use; False when there is none. Its objects are left over from the commit on."""
    return connection.execute(_NO_PARTS, {"id": dataset_id}).rowcount > 0


def known(connection: Connection, found: Untidy, keys: Collection[str]) -> set[str]:
    """Those of some keys that a record of the dataset tells of."""
    if found.gone:
        return set()
    rows = connection.execute(_KNOWN, {"id": found.id, "keys": list(keys)}).scalars()
    return set(rows) | set(found.top)


def go_on(connection: Connection, dataset_id: UUID, to: str) -> None:
    """What comes up to this key is as it should be."""
    connection.execute(_GO_ON, {"id": dataset_id, "to": to})


def done(connection: Connection, dataset_id: UUID) -> None:
    """Nothing is left over."""
    connection.execute(_DONE, {"id": dataset_id})


def touch(connection: Connection, dataset_id: UUID) -> bool:
    """Something will be put for a dataset that is there: waits for a sweep that is at it, and keeps the next ones away."""
    return connection.execute(_TOUCH, {"id": dataset_id}).first() is not None
