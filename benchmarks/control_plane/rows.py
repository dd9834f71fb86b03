"""Renders straight in SQL: the rows that submits would leave, by COPY or by the repository's own statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.control_plane import loading
from latentfarm.ids import new_id
from latentfarm.registry import load_registry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg

    from latentfarm.repository.facade import Repository

_COLUMNS = "job_id, spec_id, seed, ordinal, queue_id, stage, priority"
_EMPTY = "TRUNCATE renders, attempts, objects, jobs CASCADE"


def a_spec(count: int) -> RenderSpec:
    """Valid and complete, as the API would store it."""
    entry = load_registry(loading.MODELS / "models.toml").get("tiny")
    return complete(RenderSpec.model_validate(loading.spec(count, seed=1)), entry)


def a_job(repository: Repository, connection: psycopg.Connection[Any]) -> tuple[UUID, int, int]:
    """A job without renders, its spec and the queue that renders of it would wait in."""
    job = new_id()
    repository.add_job(job, a_spec(1), tenant="")
    ((spec, queue),) = connection.execute(
        "DELETE FROM renders WHERE job_id = %s RETURNING spec_id, queue_id", (job,)
    ).fetchall()
    return job, int(spec), int(queue)


def lines(job: UUID, spec: int, queue: int, count: int) -> bytes:
    """So many renders in COPY's own format."""
    stage = int(Stage.BASE)
    return "".join(f"{job}\t{spec}\t{1 + i}\t{i}\t{queue}\t{stage}\t0\n" for i in range(count)).encode()


def copy(connection: psycopg.Connection[Any], data: bytes) -> None:
    """All rows in one transaction: the fastest way into this table, with all its indexes and its foreign key."""
    with connection.cursor() as cursor, cursor.copy(f"COPY renders ({_COLUMNS}) FROM STDIN") as into:
        into.write(data)


def fill(repository: Repository, count: int) -> None:
    """Adds so many queued renders, as submits would."""
    for start in range(0, count, loading.MOST):
        repository.add_job(new_id(), a_spec(min(loading.MOST, count - start)), tenant="")


def empty(connection: psycopg.Connection[Any]) -> None:
    """Takes all jobs away."""
    connection.execute(_EMPTY)
