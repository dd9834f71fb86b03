"""What an application of plain Celery keeps in SQL: a row for each job, and one for each start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.plain.handing_in import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

_TABLES = """
    CREATE TABLE IF NOT EXISTS plain_jobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, spec jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS plain_claims (
        job_id bigint PRIMARY KEY REFERENCES plain_jobs, at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
JOB = "INSERT INTO plain_jobs (spec) VALUES (%s) RETURNING id"
CLAIM = "INSERT INTO plain_claims (job_id) VALUES (%s) ON CONFLICT DO NOTHING"
_WAITS = """
    SELECT 1000 * EXTRACT(EPOCH FROM c.at - j.created_at)::float FROM plain_jobs j JOIN plain_claims c ON c.job_id = j.id
    WHERE j.id = ANY (%s)
"""


def url(farms: str) -> str:
    """The farm's own database, as psycopg writes it."""
    return farms.replace("+psycopg", "", 1)


def make_tables(connection: psycopg.Connection[Any]) -> None:
    """Beside the farm's, once."""
    connection.execute(_TABLES)


def submit(connection: psycopg.Connection[Any], broker: str, spec: str) -> int:
    """Commits a job's row, then publishes; returns its id."""
    ((job,),) = connection.execute(JOB, (spec,)).fetchall()
    task(broker, "claimed").apply_async((job,))
    return int(job)


def is_claimed(connection: psycopg.Connection[Any], job: int) -> bool:
    """Whether a worker has started the job."""
    return connection.execute("SELECT FROM plain_claims WHERE job_id = %s", (job,)).fetchone() is not None


def waits_ms(connection: psycopg.Connection[Any], jobs: Sequence[int]) -> list[float]:
    """From the transaction that stores a job to its claim, by the database's clock."""
    return [float(row[0]) for row in connection.execute(_WAITS, (list(jobs),))]
