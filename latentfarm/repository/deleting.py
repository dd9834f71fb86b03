"""A user throws a job away: its results go, and what it said; the record stays. Of a dataset nothing stays.

The record of a job stays for whoever sent its Idempotency-Key again, for what was charged for it, and for jobs that were
made from it. A dataset is known by its name, which is free from this commit on; its rows go later, see `emptying`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.errors import NotFound, NotSupported, SourceGone
from latentfarm.repository import delivering

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

_KIND = text("SELECT kind FROM jobs WHERE id = :id AND tenant = :tenant")

# What retention does when the term of a job is over, at once; what still runs is cancelled by the next transaction, or
# by the sweep that ends cancels. Nothing is cleared before the job has ended, see `retaining`.
_MARK = text("""
    UPDATE jobs SET deleted_at = coalesce(deleted_at, now()), user_metadata = '{}', keep_latents = 0, latents_kept = true,
        clear_from = CASE WHEN results_gone_at IS NULL THEN 0 ELSE clear_from END,
        results_gone_at = coalesce(results_gone_at, now()),
        cancelled_at = CASE WHEN finished_at IS NULL THEN coalesce(cancelled_at, now()) ELSE cancelled_at END
    WHERE id = :id RETURNING finished_at IS NULL AS live
""")

_LOCK_SET = text("SELECT phase, deleted_at FROM datasets WHERE id = :id AND tenant = :tenant FOR UPDATE")
_LOCK_JOB = text("SELECT finished_at IS NULL AS live FROM jobs WHERE id = :id FOR UPDATE")

# As one whose manifest was refused: nothing of it is kept, the sweep of leftovers knows, and who waits for this row to go
# on with it finds the phase changed. What it said goes, all but the name, by which a second request is known.
_MARK_SET = text("""
    UPDATE datasets SET phase = 'rejected', deleted_at = now(), name = 'deleted/' || id,
        request = jsonb_build_object('name', name), report = '{}', fingerprint = NULL, digest = NULL,
        untidy_since = now(), tidied_to = ''
    WHERE id = :id
""")

_GOING = text("""
    SELECT EXISTS (
        SELECT FROM datasets WHERE deleted_at IS NOT NULL AND tenant = :tenant AND request ->> 'name' = :name)
""")

# A batch is its dataset, seen by OpenAI's clients.
_DROP_BATCH = text("""
    WITH dropped AS (DELETE FROM batches WHERE id = :id RETURNING lines)
    UPDATE files SET expires_at = now() FROM dropped WHERE files.id = dropped.lines
""")


def mark_deleted(connection: Connection, job_id: UUID, *, tenant: str) -> bool:
    """Takes the results of a job out of reach, and forgets what its user wrote to it; again, it changes nothing.

    A transaction of its own, as that of a cancel.

    Returns:
        Whether some of it may still be at work, and has to be cancelled.

    Raises:
        NotFound: the tenant has no such job.
        NotSupported: it is that of a dataset.
    """
    kind = connection.execute(_KIND, {"id": job_id, "tenant": tenant}).scalar()
    if kind is None:
        raise NotFound(f"no job {job_id}")
    if kind == "dataset":
        raise NotSupported("job_id", "the job of a dataset goes with that alone", "a job of another kind")
    return _mark(connection, job_id)


def mark_dataset_deleted(connection: Connection, dataset_id: UUID, name: str, *, tenant: str) -> None:
    """Takes a dataset that rests out of reach, and frees its name; however large it is, this is a few rows.

    Again, it changes nothing.

    Raises:
        NotFound: the tenant has none of that id.
        SourceGone: of code `not_ready`: it is at work.
    """
    # Datasets before jobs, as everywhere.
    found = connection.execute(_LOCK_SET, {"id": dataset_id, "tenant": tenant}).first()
    if found is None:
        raise NotFound(f"no dataset {name}")
    if found.deleted_at is not None:
        return
    live = connection.execute(_LOCK_JOB, {"id": dataset_id}).scalar()
    if live or found.phase == "checking":
        told = "is at work: cancel it, or wait for its end, and delete it then"
        raise SourceGone("not_ready", f"the dataset {name} {told}")
    if live is None:
        delivering.let_go(connection, dataset_id)  # its manifest was refused, and that was told
    else:
        _mark(connection, dataset_id)
    connection.execute(_MARK_SET, {"id": dataset_id})
    connection.execute(_DROP_BATCH, {"id": dataset_id})


def _mark(connection: Connection, job_id: UUID) -> bool:
    live = connection.execute(_MARK, {"id": job_id}).scalar_one()
    # What its end has yet to be told of is told; what was told is kept no longer than the job.
    delivering.let_go(connection, job_id)
    return bool(live)


def is_going(connection: Connection, name: str, *, tenant: str) -> bool:
    """Whether the tenant has thrown away a dataset of that name of which some is still there."""
    return bool(connection.execute(_GOING, {"tenant": tenant, "name": name}).scalar_one())
