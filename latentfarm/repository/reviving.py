"""Failed renders of a job are tried again: they go back to their queue, and the job is open again.

Of datasets see `retrying`: their images belong to shards, and shards may be packed already.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import text

from latentfarm.errors import Ended, NotFound, SourceGone
from latentfarm.image_names import named
from latentfarm.references import digests
from latentfarm.repository import inputs, repairing, retrying
from latentfarm.repository.settling import add_event
from latentfarm.repository.submitting import queue_id
from latentfarm.repository.tenancy import check_room
from latentfarm.retention import told
from latentfarm.spec import RenderSpec
from latentfarm.states import FINAL_JOB, JobState, Lane, RenderState, Stage
from latentfarm.verify.remedy import stage_to_repeat

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.repository.repairing import Lost

_KIND = text("SELECT kind FROM jobs WHERE id = :id AND tenant = :tenant")

# Renders before jobs, as everywhere: of two that ask at once the second one finds none.
_FAILED = text("""
    SELECT r.id, r.ordinal FROM renders r WHERE r.job_id = :id AND r.state = :failed ORDER BY r.id FOR UPDATE
""")

_LOCK_JOB = text("""
    SELECT state, lane, cancelled_at IS NOT NULL AS cancelled, results_gone_at, retain_days FROM jobs
    WHERE id = :id FOR UPDATE
""")

# What they have saved may be at fault.
_WITHDRAW = text("""
    UPDATE checkpoints SET state = 'planned' WHERE render_id = ANY (CAST(:ids AS bigint[])) AND state = 'visible'
""")

# A statement of its own, once the job is locked: the last of them may have failed just before.
_HOW_MANY = text("SELECT count(*) FROM renders WHERE job_id = :id AND state = :failed")

_OPEN = text("""
    UPDATE jobs SET state = :running, finished_at = NULL, remaining = remaining + :n, failed = failed - :n,
                    queued = queued + :n, latents_kept = true
    WHERE id = :id
""")


def retry(connection: Connection, job_id: UUID, *, tenant: str) -> int:
    """Queues the failed renders of a job again, and nothing else of it; returns how many.

    Each begins where it can: with the refiner, where the latents of its base stage are still kept.

    Raises:
        NotFound: the tenant has no such job.
        Ended: no image has failed; or the job was cancelled, or its images are kept no longer.
        SourceGone: the job is still at work; or what some of them would start from is kept no longer. None is
            tried then.
        TooMuchQueued: the tenant has as many renders waiting as it may.
    """
    kind = connection.execute(_KIND, {"id": job_id, "tenant": tenant}).scalar()
    if kind is None:
        raise NotFound(f"no job {job_id}")
    if kind == "dataset":
        return _dataset(connection, job_id)
    rows = connection.execute(_FAILED, {"id": job_id, "failed": int(RenderState.FAILED)}).all()
    places = _places(connection, job_id, {row.id: row.ordinal for row in rows})
    lane = _lock(connection, job_id, len(rows))
    check_room(connection, tenant, len(rows))
    for (stage, model), ids in sorted(places.items()):
        repairing.queue_again(connection, ids, stage, queue_id(connection, stage, model, lane))
    connection.execute(_WITHDRAW, {"ids": [row.id for row in rows]})
    running = JobState.RUNNING.value
    connection.execute(_OPEN, {"id": job_id, "n": len(rows), "running": running})
    add_event(connection, job_id, "job.retrying", {"state": running, "images": len(rows)})
    return len(rows)


def _dataset(connection: Connection, job_id: UUID) -> int:
    retried = retrying.retry_failed(connection, job_id)
    if not retried:
        raise Ended(f"of the dataset {job_id} no image has failed, or it was cancelled")
    return retried


def _lock(connection: Connection, job_id: UUID, failed: int) -> Lane:
    """Locks the job, and tells its lane, where it is one whose images may be tried again."""
    job = connection.execute(_LOCK_JOB, {"id": job_id}).one()
    if job.results_gone_at is not None:
        raise Ended(told(f"the images of job {job_id}", job.results_gone_at, job.retain_days))
    if job.cancelled:
        raise Ended(f"job {job_id} was cancelled; hand it in again")
    values = {"id": job_id, "failed": int(RenderState.FAILED)}
    if job.state not in FINAL_JOB or connection.execute(_HOW_MANY, values).scalar_one() != failed:
        told_so = f"job {job_id} is at work; what fails of it can be tried again once it has ended"
        raise SourceGone("not_ready", told_so)
    if not failed:
        raise Ended(f"of job {job_id} no image has failed")
    return Lane(job.lane)


def _places(
    connection: Connection, job_id: UUID, ordinals: dict[int, int]
) -> dict[tuple[Stage, str], list[int]]:
    """Renders by the stage and the model with which they begin again; what they start from is held."""
    found = repairing.look(connection, list(ordinals))
    latents = repairing.hold(connection, [lost.held for lost in found if lost.held is not None])
    specs = {lost.render_id: _spec(lost) for lost in found}
    wanted = {sha256 for spec in specs.values() for sha256 in digests(spec).values()}
    pictures = set(inputs.touch(connection, sorted(wanted)))
    places: dict[tuple[Stage, str], list[int]] = defaultdict(list)
    gone: list[int] = []
    for lost in found:
        spec = specs[lost.render_id]
        there = pictures.issuperset(digests(spec).values())
        stage = stage_to_repeat(spec, latents=lost.held in latents, refined=lost.refined, inputs=there)
        if isinstance(stage, Stage):
            places[stage, spec.model].append(lost.render_id)
        elif not there:
            raise SourceGone.inputs(job_id)
        else:
            gone.append(ordinals[lost.render_id])
    if gone:
        raise SourceGone(
            "latents_gone", f"the latents that {named(gone)} of job {job_id} were to be made from are gone"
        )
    return places


def _spec(lost: Lost) -> RenderSpec:
    try:
        return RenderSpec(**lost.picture)
    except ValidationError as error:
        raise Ended(f"the stored spec cannot be read any more: {error.error_count()} errors") from error
