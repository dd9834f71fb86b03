"""What stands in SQL, in the form in which the model says what should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Engine

_TABLES = ("outbox", "objects", "attempts", "render_sources", "renders", "idempotency", "job_inputs", "jobs")

_RENDERS = text("""
    SELECT r.id, q.name, r.state, r.stage, r.fence, r.tries, r.starts, r.suspect, r.owner
    FROM renders r JOIN queues q ON q.id = r.queue_id ORDER BY r.id
""")

_JOBS = text("""
    SELECT j.id, j.state, j.remaining, j.queued, j.failed,
           (SELECT count(*) FROM outbox o WHERE o.job_id = j.id AND o.type IN
                ('job.succeeded', 'job.failed', 'job.cancelled'))
    FROM jobs j ORDER BY j.id
""")

_OPEN = text("SELECT render_id, fence FROM attempts WHERE ended_at IS NULL")
_IMAGES = text("SELECT render_id, fence FROM objects WHERE kind = 'image' AND state = 'visible'")
_QUARANTINED = text("SELECT id FROM workers WHERE end_reason = 'quarantined'")
_TRIES = text("SELECT id, tries FROM renders")
_VISIBLE = text("SELECT key FROM objects WHERE state = 'visible'")
_KEYS = text("SELECT key FROM objects")
_OF_JOB = text("SELECT id FROM renders WHERE job_id = :job ORDER BY ordinal")


class Rows:
    """Reads the database as a stranger: by a connection of its own, outside of any process that may die."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def clear(self) -> None:
        """Forgets every job and incarnation."""
        with self._engine.begin() as connection:
            for table in _TABLES:
                connection.execute(text(f"DELETE FROM {table}"))
            connection.execute(text("UPDATE workers SET ended_at = now() WHERE ended_at IS NULL"))

    def change(self, sql: str, **values: object) -> None:
        """What time or an accident does."""
        with self._engine.begin() as connection:
            connection.execute(text(sql), values)

    def renders_of(self, job_id: UUID) -> list[int]:
        """Ids of a job's renders."""
        with self._engine.connect() as connection:
            return list(connection.execute(_OF_JOB, {"job": job_id}).scalars())

    def renders(self) -> list[tuple[object, ...]]:
        """One row for each, see `model.Render.row`."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(_RENDERS)]

    def jobs(self) -> list[tuple[object, ...]]:
        """One row for each, see `model.Job.row`."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(_JOBS)]

    def quarantined(self) -> set[int]:
        """Incarnations whose device was sent to rest."""
        with self._engine.connect() as connection:
            return set(connection.execute(_QUARANTINED).scalars())

    def tries(self) -> dict[int, int]:
        """Of each render."""
        with self._engine.connect() as connection:
            return {row.id: row.tries for row in connection.execute(_TRIES)}

    def open_attempts(self) -> set[tuple[int, int]]:
        """(render id, fence) of attempts that have not ended."""
        with self._engine.connect() as connection:
            return {(row.render_id, row.fence) for row in connection.execute(_OPEN)}

    def images(self) -> list[tuple[int, int]]:
        """(render id, fence) of visible images."""
        with self._engine.connect() as connection:
            return sorted((row.render_id, row.fence) for row in connection.execute(_IMAGES))

    def keys(self, *, visible: bool) -> set[str]:
        """Keys of objects that rows tell of: of all, or of those that users can see."""
        with self._engine.connect() as connection:
            return set(connection.execute(_VISIBLE if visible else _KEYS).scalars())
