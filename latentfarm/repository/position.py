"""Where a job stands that nobody has begun: what goes before it, by the counts that jobs keep of themselves.

Reads the jobs that wait beside it, never their renders; of these only what is dispatched, which has a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.fairness import Standing, View
from latentfarm.fairness.deciding import RUNG_S
from latentfarm.fairness.foreseeing import Turn, foresee
from latentfarm.repository.waiting import SEVERAL
from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from latentfarm.states import Stage

MOST_JOBS = 10_000
"""Jobs that are looked at; where more wait, the answer is a least one."""

_ME = text(f"""
    SELECT j.tenant, j.lane, j.queued, q.id AS queue_id, q.name, q.drained_at, j.paused_at, t.paused_at AS tenant_paused_at,
           t.max_in_flight, CASE WHEN j.start_after > now() THEN j.start_after END AS start_after,
           GREATEST(j.created_at, j.picked_at, j.start_after) AS served_at,
           j.priority + floor(EXTRACT(EPOCH FROM now() - GREATEST(j.created_at, j.picked_at, j.start_after)) / {RUNG_S})
               AS rung
    FROM jobs j JOIN queues q ON q.stage = :stage AND q.model = :model AND q.lane = j.lane
    LEFT JOIN tenants t ON t.name = j.tenant
    WHERE j.id = :id AND j.cancelled_at IS NULL AND j.finished_at IS NULL
""")  # noqa: S608 - no input in it

_BESIDE = text(f"""
    WITH beside AS (
        SELECT j.id, j.tenant, j.queued, GREATEST(j.created_at, j.picked_at, j.start_after) AS served_at,
               j.priority + floor(
                   EXTRACT(EPOCH FROM now() - GREATEST(j.created_at, j.picked_at, j.start_after)) / {RUNG_S}) AS rung
        FROM jobs j
        WHERE j.model = ANY (ARRAY[CAST(:model AS text), '{SEVERAL}']) AND j.lane = :lane AND j.waits
          AND j.paused_at IS NULL AND j.cancelled_at IS NULL AND coalesce(j.start_after <= now(), true)
        LIMIT :most),
    tenant AS (
        SELECT b.tenant, count(*) AS jobs, sum(b.queued)::bigint AS queued,
               coalesce(sum(b.queued) FILTER (WHERE b.rung > :rung), 0)::bigint AS higher,
               count(*) FILTER (WHERE b.rung = :rung AND (b.served_at, b.id) < (:served_at, CAST(:id AS uuid))) AS before,
               coalesce(sum(LEAST(b.queued, :n)) FILTER (WHERE b.rung = :rung AND b.id <> :id), 0)::bigint AS beside
        FROM beside b GROUP BY b.tenant)
    SELECT b.*, coalesce(t.weight, 1) AS weight, coalesce(t.deficit_s, 0) AS deficit_s,
           coalesce(t.in_flight, 0) AS in_flight, t.recent_s / nullif(t.recent_starts, 0) AS cost_s
    FROM tenant b LEFT JOIN tenants t ON t.name = b.tenant WHERE t.paused_at IS NULL
""")  # noqa: S608 - no input in it

_SENT = text("""
    WITH mine AS (SELECT min(sent_at) AS sent_at FROM renders WHERE queue_id = :queue AND state = 1 AND job_id = :id)
    SELECT count(*) AS n, count(*) FILTER (WHERE r.job_id = :id) AS own,
           count(*) FILTER (WHERE r.sent_at < mine.sent_at) AS before
    FROM renders r CROSS JOIN mine WHERE r.queue_id = :queue AND r.state = 1
""")

# All of the other lane that could be served goes before bulk.
_FIRST_LANE = text(f"""
    SELECT coalesce(sum(w.queued), 0)::bigint + (
        SELECT count(*) FROM renders r JOIN queues q ON q.id = r.queue_id
        WHERE q.stage = :stage AND q.model = :model AND q.lane = 'interactive' AND r.state = 1) AS n
    FROM (
        SELECT j.queued FROM jobs j LEFT JOIN tenants t ON t.name = j.tenant
        WHERE j.model = ANY (ARRAY[CAST(:model AS text), '{SEVERAL}']) AND j.lane = 'interactive' AND j.waits
          AND j.paused_at IS NULL AND j.cancelled_at IS NULL AND t.paused_at IS NULL
          AND coalesce(j.start_after <= now(), true)
        LIMIT :most) AS w
""")  # noqa: S608 - no input in it


@dataclass(frozen=True, slots=True)
class Position:
    """What goes before a job in its queue.

    Attributes:
        ahead: renders that would be served before its next one; None while it is held back.
        last: the same, before its last one.
        is_cut: more jobs wait than were looked at, so that both are least ones.
        held: why it is not served at all for now; empty: it is.
    """

    queue: str
    lane: Lane
    ahead: int | None
    last: int | None
    is_cut: bool = False
    held: str = ""


def position(connection: Connection, job_id: UUID, model: str, stage: Stage) -> Position | None:
    """Where a job stands; None when it has ended, or nothing of it waits.

    Args:
        model: of its spec. A job of several models is looked at as if all of it were of this one.
        stage: that its renders begin with.
    """
    place = {"id": job_id, "model": model, "stage": int(stage)}
    me = connection.execute(_ME, place).first()
    if me is None:
        return None
    held = _held(me)
    if held:
        return Position(me.name, Lane(me.lane), None, None, held=held)
    sent = connection.execute(_SENT, {"queue": me.queue_id, "id": job_id}).one()
    if not me.queued and not sent.own:
        return None
    own = {"lane": me.lane, "rung": me.rung, "served_at": me.served_at, "n": me.queued, "most": MOST_JOBS}
    beside = connection.execute(_BESIDE, place | own).all() if me.queued else []
    first, last = _turns(me, beside)
    is_bulk = me.lane == Lane.BULK.value
    before = connection.execute(_FIRST_LANE, place | {"most": MOST_JOBS}).scalar_one() if is_bulk else 0
    ahead = sent.before if sent.own else sent.n + first
    ends = sent.n + last if me.queued else sent.before + sent.own - 1
    is_cut = sum(row.jobs for row in beside) >= MOST_JOBS
    return Position(me.name, Lane(me.lane), before + ahead, before + ends, is_cut)


def _held(me: Row[tuple[Any, ...]]) -> str:
    if me.paused_at is not None:
        return "it is paused"
    if me.tenant_paused_at is not None:
        return "its tenant is paused"
    if me.drained_at is not None:
        return "its queue is drained"
    if me.max_in_flight == 0:
        return "its tenant may have no render in flight"
    return f"it is to begin at {me.start_after.isoformat(timespec='seconds')}" if me.start_after else ""


def _turns(me: Row[tuple[Any, ...]], beside: Sequence[Row[tuple[Any, ...]]]) -> tuple[int, int]:
    mine = next((row for row in beside if row.tenant == me.tenant), None)
    if mine is None:
        return 0, max(0, me.queued - 1)
    known = [float(row.cost_s) for row in beside if row.cost_s is not None]
    standings = {
        row.tenant: Standing(row.weight, row.deficit_s, row.in_flight, None, row.cost_s) for row in beside
    }
    view = View((), standings, cost_s=sum(known) / len(known) if known else 1.0)
    turn = Turn(me.queued, mine.higher, mine.before, mine.beside)
    return foresee(view, me.tenant, turn, {row.tenant: row.queued for row in beside})
