"""A user throws a job away: its results go, and what it said; the record stays.

It stays for whoever sent its Idempotency-Key again, for what was charged for it, and for jobs that were made from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.errors import NotFound, NotSupported

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
        raise NotSupported("job_id", "deleting a dataset is not built yet", "a job of another kind")
    return bool(connection.execute(_MARK, {"id": job_id}).scalar_one())
