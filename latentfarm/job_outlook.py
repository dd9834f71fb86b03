"""What a job that waits is told: its place, and when its turn may come, with what that is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.modes import first_stage
from latentfarm.queue_views import EstimateBasis, JobEstimate, QueuePlace
from latentfarm.repository.pacing import paces
from latentfarm.repository.position import position
from latentfarm.spec import RenderSpec
from latentfarm.states import JobState, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from latentfarm.records import Job
    from latentfarm.repository.pacing import Pace
    from latentfarm.repository.position import Position


def outlook_of(connection: Connection, job: Job) -> tuple[QueuePlace | None, JobEstimate | None]:
    """The place of a job of which nothing has begun, and an estimate; nothing of any other, and asks nothing for it."""
    if job.state is not JobState.QUEUED:
        return None, None
    spec = RenderSpec.model_validate(job.spec)
    stage = Stage.REFINE if job.kind == "refine" else first_stage(spec)
    found = position(connection, job.id, spec.model, stage)
    if found is None:
        return None, None
    own = paces(connection, spec.model, stage)
    later = (
        paces(connection, spec.model, Stage.REFINE)
        if stage is Stage.BASE and spec.refiner is not None
        else {}
    )
    place = QueuePlace(
        name=found.queue, ahead=found.ahead, at_least=found.is_cut, held_back=found.held or None
    )
    return place, estimate(found, own, later, refines=stage is Stage.BASE and spec.refiner is not None)


def estimate(
    found: Position, own: Mapping[str, Pace], later: Mapping[str, Pace], *, refines: bool
) -> JobEstimate:
    """When a job begins and ends, or why nobody knows.

    Args:
        own: paces of the stage that it waits for, by lane.
        later: of the refine stage, where it passes through that too.
        refines: whether it does.
    """
    pace = _measured(own, found)
    basis = EstimateBasis(
        queue=found.queue if pace is None else pace.name,
        renders_per_s=None if pace is None or not pace.per_s else round(pace.per_s, 4),
        measured_renders=0 if pace is None else round(pace.starts),
        measured_worker_s=0.0 if pace is None else round(pace.worker_s, 1),
        workers=max((one.workers for one in own.values()), default=0),
        told="",
    )
    unknown = _unknown(found, pace, basis.workers)
    if unknown or pace is None or found.ahead is None or found.last is None:
        return JobEstimate(basis=basis.model_copy(update={"told": unknown}))
    refine = _measured(later, found) if refines else None
    ends_in_s = None
    if not refines or refine is not None:
        runs_s = pace.run_each_s + (refine.run_each_s if refine is not None else 0.0)
        ends_in_s = round(found.last / pace.per_s + runs_s, 2)
    told = (
        f"{pace.starts:.0f} renders of {pace.name} that began in {pace.worker_s:.0f} s of workers, the last ones counting"
        f" most, and {pace.workers} that serve it now; one runs for {pace.run_each_s:.3g} s"
    )
    if refines:
        told += _refined(refine)
    return JobEstimate(
        starts_in_s=round(found.ahead / pace.per_s, 2),
        ends_in_s=ends_in_s,
        basis=basis.model_copy(update={"told": told}),
    )


def _measured(known: Mapping[str, Pace], found: Position) -> Pace | None:
    """Of the job's lane, or else of the other one: the same workers serve it."""
    lanes = sorted(known, key=lambda lane: lane != found.lane.value)
    return next((known[lane] for lane in lanes if known[lane].is_measured), None)


def _unknown(found: Position, pace: Pace | None, workers: int) -> str:
    if found.held:
        return found.held
    if not workers:
        return f"no worker serves {found.queue}"
    return f"nothing of {found.queue} was measured yet" if pace is None else ""


def _refined(refine: Pace | None) -> str:
    if refine is None:
        return "; nothing of the refine stage was measured yet"
    return f", and then {refine.run_each_s:.3g} s in {refine.name}, as if nothing waited there"
