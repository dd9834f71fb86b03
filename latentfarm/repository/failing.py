"""A stage does not end well: failed, given back, or its process died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.errors import ErrorClass
from latentfarm.records import Release
from latentfarm.repository import blaming, checkpointing, dispatching, working
from latentfarm.repository.settling import add_event, change_queued, lock_jobs
from latentfarm.repository.sharding import count_down, go_on, jobs_of, standing
from latentfarm.repository.submitting import queue_id
from latentfarm.retry import BLAMES_DEVICE, POLICIES, GiveUp, Retry, decide, decide_death
from latentfarm.states import Lane, RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from latentfarm.messages import Pair
    from latentfarm.records import Failure

    Render = Row[tuple[object, ...]]

_LOCK = text("""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence))
    SELECT r.* FROM renders r JOIN w ON w.id = r.id AND w.fence = r.fence
    WHERE r.state = :running ORDER BY r.id FOR UPDATE OF r
""")

_LOCK_OWNED = text("""
    SELECT * FROM renders WHERE owner = ANY (CAST(:workers AS bigint[])) AND state = :running ORDER BY id FOR UPDATE
""")

# `fence` rises, so whoever still works on it can write nothing any more.
_BACK = text("""
    UPDATE renders SET state = :queued, fence = fence + 1, owner = NULL, tries = tries + :charge,
        starts = starts - :refund, suspect = :suspect, stage = :stage, queue_id = :queue,
        due_at = now() + make_interval(secs => :delay_s)
    WHERE id = :id
""")

_FAIL = text("""
    UPDATE renders SET state = :failed, fence = fence + 1, owner = NULL, tries = tries + :charge WHERE id = :id
""")

_CLOSE = text("""
    UPDATE attempts SET ended_at = now(), outcome = :outcome, error_class = :error_class, message = :message,
        steps = :steps, charged = :charged
    WHERE render_id = :id AND fence = :fence
""")

# They could not be used, and new ones are made.
_HIDE_LATENTS = text("""
    UPDATE objects SET state = 'going' WHERE render_id = :id AND kind = 'latents' AND state = 'visible'
""")

_QUEUE = text("SELECT model, lane FROM queues WHERE id = :queue")

# A render that was made from what another one left has no base stage to go back to.
_HAS_BASE = text("""
    SELECT coalesce(s.body -> 'refiner' ->> 'mode', '') <> 'only'
       AND NOT EXISTS (SELECT FROM render_sources f WHERE f.render_id = :id) FROM specs s WHERE s.id = :spec
""")


def fail(connection: Connection, failures: Sequence[Failure]) -> set[Pair]:
    """Records failures and decides for each: back to its queue, or `failed` for good.

    Returns:
        The pairs that were still held; the others had been cancelled or superseded.
    """
    by_id = {(item.render_id, item.fence): item for item in failures}
    rows = connection.execute(_LOCK, {**_pairs(list(by_id)), "running": int(RenderState.RUNNING)}).all()
    ends: list[Render] = []
    backs: list[Render] = []
    blamed: set[int] = set()
    elsewhere = blaming.failed_elsewhere(connection, [row.id for row in rows if row.tries])
    for row in rows:
        failure = by_id[row.id, row.fence]
        error_class = failure.error_class
        decision = decide(
            error_class,
            tries=row.tries,
            starts=row.starts,
            alone=row.suspect,
            elsewhere=row.id in elsewhere,
        )
        if error_class in BLAMES_DEVICE:
            blamed.add(row.owner)
        told = (error_class.value, failure.message, failure.steps)
        _close(connection, row, "failed", *told, charge=decision.charge)
        (ends if isinstance(decision, GiveUp) else backs).append(row)
        _apply(connection, row, decision, suspect=row.suspect or POLICIES[error_class].isolates)
    _count(connection, ends, [*backs, *_quarantine(connection, blamed)])
    return {(row.id, row.fence) for row in rows}


def release(connection: Connection, pairs: Sequence[Pair]) -> set[Pair]:
    """Gives renders back of which nothing was saved."""
    return give_back(connection, [Release(*pair) for pair in pairs])


def give_back(connection: Connection, releases: Sequence[Release]) -> set[Pair]:
    """Gives renders back unfinished (the worker drains): charged nothing, and the start is refunded.

    What was saved of them becomes visible in the same transaction: whoever claims one goes on from there.
    """
    by_id = {(item.render_id, item.fence): item for item in releases}
    rows = connection.execute(_LOCK, {**_pairs(list(by_id)), "running": int(RenderState.RUNNING)}).all()
    saved = [item.saved for item in releases if item.saved is not None]
    if saved:
        checkpointing.show(connection, saved)
    _put_back(connection, rows, {pair: item.steps for pair, item in by_id.items()})
    _count(connection, [], rows)
    return {(row.id, row.fence) for row in rows}


def _put_back(connection: Connection, rows: Sequence[Render], steps: Mapping[Pair, int | None]) -> None:
    for row in rows:
        _close(connection, row, "released", None, None, steps.get((row.id, row.fence)))
        _apply(connection, row, Retry(0.0, 0), suspect=row.suspect, refund=1)


def _quarantine(connection: Connection, blamed: set[int]) -> Sequence[Render]:
    """Ends those of the incarnations whose devices are at fault; returns what they ran, given back.

    Nobody goes on from the states that they have left: such a device may have ruined them.
    """
    ended = blaming.quarantine(connection, blamed) if blamed else []
    if not ended:
        return []
    rows = connection.execute(_LOCK_OWNED, {"workers": ended, "running": int(RenderState.RUNNING)}).all()
    _put_back(connection, rows, checkpointing.taken(connection, [(row.id, row.fence) for row in rows]))
    for row in rows:
        checkpointing.withdraw(connection, row.id)
    return rows


def rescue(connection: Connection, workers: Sequence[int], reason: str, *, blame: bool = True) -> list[int]:
    """Takes back all that ended incarnations were running.

    A render that was alone in its process is charged; its neighbours become suspects and run alone.

    Args:
        blame: False where the parent went, too: a render can kill its child, and hardly the host. Nobody is
            charged then, and the limit of starts ends what would bring down one host after the other.

    Returns:
        Ids of the renders that were taken back or failed.
    """
    rows = connection.execute(
        _LOCK_OWNED, {"workers": list(workers), "running": int(RenderState.RUNNING)}
    ).all()
    taken = checkpointing.taken(connection, [(row.id, row.fence) for row in rows])
    ends: list[Render] = []
    backs: list[Render] = []
    for row in rows:
        decision = decide_death(alone=row.suspect and blame, tries=row.tries, starts=row.starts)
        error_class = ErrorClass.POISON.value if row.suspect and blame else None
        steps = taken.get((row.id, row.fence))
        _close(connection, row, "lost", error_class, reason, steps, charge=decision.charge)
        (ends if isinstance(decision, GiveUp) else backs).append(row)
        _apply(connection, row, decision, suspect=True)
    _quarantine(connection, {row.owner for row in rows if row.suspect and blame})
    _count(connection, ends, backs)
    return [row.id for row in rows]


def rescue_expired(connection: Connection, *, lease_s: float) -> tuple[list[int], list[int]]:
    """Ends incarnations whose lease is over and takes back their renders.

    Returns:
        (incarnations ended, renders taken back).
    """
    dead = working.expired(connection, lease_s=lease_s)
    working.end(connection, dead, "lease expired")
    if dead:
        dispatching.expect_losses(connection, dead)
    owners = sorted({*dead, *working.strays(connection)})
    return dead, rescue(connection, owners, "lease expired", blame=False) if owners else []


def _apply(
    connection: Connection, row: Render, decision: Retry | GiveUp, *, suspect: bool, refund: int = 0
) -> None:
    if isinstance(decision, GiveUp):
        values = {"id": row.id, "failed": int(RenderState.FAILED), "charge": decision.charge}
        connection.execute(_FAIL, values)
        return
    if decision.charge:
        checkpointing.withdraw(connection, row.id)
    stage, queue = Stage(row.stage), row.queue_id
    if decision.rewind and stage is Stage.REFINE and _has_base(connection, row):
        model, lane = connection.execute(_QUEUE, {"queue": queue}).one()
        stage, queue = Stage.BASE, queue_id(connection, Stage.BASE, model, Lane(lane))
        connection.execute(_HIDE_LATENTS, {"id": row.id})
    connection.execute(
        _BACK,
        {
            "id": row.id,
            "queued": int(RenderState.QUEUED),
            "charge": decision.charge,
            "refund": refund,
            "suspect": suspect,
            "stage": int(stage),
            "queue": queue,
            "delay_s": decision.delay_s,
        },
    )
    notify(connection, CHANNEL_WORK, queue)


def _has_base(connection: Connection, row: Render) -> bool:
    return bool(connection.execute(_HAS_BASE, {"id": row.id, "spec": row.spec_id}).scalar_one())


def _count(connection: Connection, ends: Sequence[Render], backs: Sequence[Render]) -> None:
    ends = standing(connection, ends)
    full = count_down(connection, ends, failed=True)
    lock_jobs(connection, {row.job_id for row in backs} | jobs_of(ends, full))
    change_queued(connection, [row.job_id for row in backs], +1)
    for row in ends:
        if row.shard_id is None:
            add_event(connection, row.job_id, "image.failed", {"index": row.ordinal})
    go_on(connection, ends, full, failed=True)


def _close(
    connection: Connection,
    row: Render,
    outcome: str,
    error_class: str | None,
    message: str | None,
    steps: int | None,
    *,
    charge: int = 0,
) -> None:
    values = {"id": row.id, "fence": row.fence, "outcome": outcome, "error_class": error_class}
    cut = message and message[:2000]
    connection.execute(_CLOSE, {**values, "message": cut, "steps": steps, "charged": charge > 0})


def _pairs(pairs: Sequence[Pair]) -> dict[str, list[int]]:
    return {"ids": [pair[0] for pair in pairs], "fences": [pair[1] for pair in pairs]}
