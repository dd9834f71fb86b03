"""Where a reader of a job's events stands, by the id of the last one that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

_PLACE = text("""
    SELECT EXISTS (SELECT FROM outbox WHERE job_id = :job AND id = :named) AS known,
           coalesce((SELECT max(id) FROM outbox WHERE job_id = :job), 0) AS last,
           (SELECT min(id) FROM outbox) AS oldest
""")


@dataclass(frozen=True, slots=True)
class Place:
    """What the outbox knows of an id.

    Attributes:
        named: the id; 0: the reader has seen nothing.
        known: whether it is that of an event of the job, and still kept.
        last: id of the job's last event that is kept; 0: none is.
        oldest: id of the oldest event that is kept, of whatever job.
    """

    named: int
    known: bool
    last: int
    oldest: int | None

    @property
    def seen_all(self) -> bool:
        """Whether nothing that is kept, and nothing that was forgotten, lies behind the id."""
        return self.named >= self.last and (
            self.known or (self.oldest is not None and self.named >= self.oldest)
        )

    @property
    def after(self) -> int:
        """From where on events are news to the reader. An id that never was one is put back to the last that is."""
        return self.named if self.known else min(self.named, self.last)


def place(connection: Connection, job_id: UUID, *, named: int) -> Place:
    """Where a reader stands. The caller has checked the tenant."""
    row = connection.execute(_PLACE, {"job": job_id, "named": named}).one()
    return Place(named, row.known, row.last, row.oldest)
