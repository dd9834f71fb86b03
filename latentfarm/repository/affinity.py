"""Who holds which models, and what waits for each: what `fairness.assign` looks at.

Costs some look-ups for each worker and queue, and `JOBS` rows at most for each model and lane, whatever the backlog.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.fairness import Affinity, Demand, Holder
from latentfarm.fairness.affinity import LOAD_S
from latentfarm.repository.waiting import SEVERAL
from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    Found = Row[tuple[object, ...]]

JOBS = 256
"""Most jobs of a model and lane whose renders are added up: who has more work than these will not be told from another."""
OUT = 1_000
"""Most dispatched renders of a queue that are looked at."""
LATELY = 1_000
"""Incarnations back to which it is known who held a model last."""
RETURN_S = 10.0
"""So long a worker whose child has ended is taken to come back with its models."""

_ANY = text("SELECT EXISTS (SELECT FROM workers WHERE ended_at IS NULL AND models_held > 0)")

# A worker whose next incarnation has not registered yet still stands for what that will hold: else somebody would be
# sent for its models in the meantime.
_HOLDERS = text("""
    WITH lately AS (SELECT * FROM workers ORDER BY id DESC LIMIT :lately),
    here AS (
        SELECT * FROM workers w WHERE ended_at IS NULL AND lease_until > now()
          AND NOT EXISTS (SELECT FROM drains d WHERE d.host = w.host AND d.device = w.device)
        UNION ALL
        SELECT * FROM lately l
        WHERE ended_at > now() - make_interval(secs => :return_s)
          AND end_reason NOT IN ('drained', 'lease expired', 'quarantined')
          AND NOT EXISTS (SELECT FROM drains d WHERE d.host = l.host AND d.device = l.device)
          AND NOT EXISTS (
            SELECT FROM workers n WHERE n.host = l.host AND n.device = l.device AND n.pid = l.pid AND n.id > l.id))
    SELECT id, stages, models, models_held, assigned_models, ready AND ended_at IS NULL AS ready,
           EXTRACT(EPOCH FROM now() - ready_at)::float AS held_s,
           EXTRACT(EPOCH FROM ready_at - created_at)::float AS load_s,
           coalesce((info ->> 'capacity')::int, 0) AS slots,
           (SELECT count(*) FROM renders r WHERE r.owner = here.id AND r.state = 2) AS running
    FROM here WHERE NOT (2 = ANY (stages)) ORDER BY id
""")

_LAST_HELD = text("""
    SELECT w.stages, m.name, EXTRACT(EPOCH FROM now() - max(coalesce(w.ended_at, now())))::float AS ago_s
    FROM (SELECT * FROM workers ORDER BY id DESC LIMIT :lately) AS w CROSS JOIN unnest(w.loaded_models) AS m(name)
    GROUP BY 1, 2
""")

# Whatever is due and may be sent is dispatched within a second, be there a worker for it or not: the oldest of these is
# the head of the queue.
_QUEUES = text("""
    SELECT q.stage, q.model, q.lane, sent.n AS sent, coalesce(sent.waited_s, 0)::float AS waited_s,
           sent.n > 0 OR (q.drained_at IS NULL AND EXISTS (
               SELECT FROM renders r WHERE r.queue_id = q.id AND r.state = 0 AND r.due_at <= now())) AS due
    FROM queues q CROSS JOIN LATERAL (
        SELECT count(*) AS n, EXTRACT(EPOCH FROM now() - min(GREATEST(o.due_at, j.picked_at))) AS waited_s
        FROM (SELECT * FROM renders r WHERE r.queue_id = q.id AND r.state = 1 ORDER BY sent_at LIMIT :out) AS o
        JOIN jobs j ON j.id = o.job_id) AS sent
    WHERE q.stage < 2
""")

_QUEUED = text("""
    SELECT q.model, q.lane, sum(j.queued)::bigint AS queued
    FROM (SELECT model, lane FROM queues WHERE stage < 2 UNION SELECT :several, lane FROM queues) AS q
    CROSS JOIN LATERAL (
        SELECT o.queued FROM jobs o LEFT JOIN tenants t ON t.name = o.tenant
        WHERE o.model = q.model AND o.lane = q.lane AND o.waits AND o.paused_at IS NULL
          AND t.paused_at IS NULL AND o.cancelled_at IS NULL AND coalesce(o.start_after <= now(), true)
        ORDER BY o.tenant, o.priority, o.id LIMIT :jobs) AS j
    GROUP BY 1, 2
""")

_COST = text("SELECT sum(recent_s) / nullif(sum(recent_starts), 0) FROM tenants")


def views(connection: Connection) -> list[Affinity]:
    """One view for each set of stages that workers serve; none while every worker holds all that it may serve."""
    if not connection.execute(_ANY).scalar_one():
        return []
    holders = connection.execute(_HOLDERS, {"lately": LATELY, "return_s": RETURN_S}).all()
    groups: dict[frozenset[int], list[Found]] = defaultdict(list)
    for row in holders:
        groups[frozenset(row.stages)].append(row)
    chosen = {
        stages: rows for stages, rows in groups.items() if any(row.ready and row.models_held for row in rows)
    }
    if not chosen:
        return []
    queues = connection.execute(_QUEUES, {"out": OUT}).all()
    waiting = connection.execute(_QUEUED, {"jobs": JOBS, "several": SEVERAL})
    queued = {(row.model, row.lane): int(row.queued) for row in waiting}
    last = connection.execute(_LAST_HELD, {"lately": LATELY}).all()
    cost_s = connection.execute(_COST).scalar()
    return [
        Affinity(
            tuple(_holder(row) for row in rows),
            tuple(
                _demands(
                    [row for row in queues if row.stage in stages],
                    queued,
                    {row.name: row.ago_s for row in last if frozenset(row.stages) == stages},
                    1.0 if cost_s is None else float(cost_s),
                )
            ),
        )
        for stages, rows in chosen.items()
    ]


def _holder(row: Found) -> Holder:
    """A worker that holds all it may serve counts as one that holds it, and is never changed."""
    return Holder(
        worker=row.id,
        serves=tuple(row.models if row.models_held else row.assigned_models),
        holds=tuple(row.assigned_models),
        most=row.models_held or len(row.assigned_models),
        held_s=row.held_s or 0.0,
        load_s=LOAD_S if row.load_s is None else row.load_s,
        slots=row.slots,
        running=row.running,
        settled=bool(row.ready and row.models_held),
    )


def _demands(
    queues: Iterable[Found],
    queued: Mapping[tuple[str, str], int],
    last_held_s: Mapping[str, float],
    cost_s: float,
) -> list[Demand]:
    by_model: dict[str, dict[Lane, list[Found]]] = defaultdict(lambda: {lane: [] for lane in Lane})
    for row in queues:
        by_model[row.model][Lane(row.lane)].append(row)
    found = []
    for model, lanes in by_model.items():
        # A job of several models does not say how many renders are of which: all of them may be of this one.
        known = {lane: queued.get((model, lane), 0) + queued.get((SEVERAL, lane), 0) for lane in lanes}
        waiting = {lane: _waiting(rows, known[lane]) for lane, rows in lanes.items()}
        waited_s = {lane: max((row.waited_s for row in rows), default=0.0) for lane, rows in lanes.items()}
        most_s = last_held_s.get(model, float("inf"))
        found.append(
            Demand(
                model,
                sum(waiting.values()),
                waiting[Lane.INTERACTIVE] > 0,
                waited_s=min(max(waited_s.values()), most_s),
                interactive_s=min(waited_s[Lane.INTERACTIVE], most_s),
                cost_s=cost_s,
            )
        )
    return found


def _waiting(rows: Sequence[Found], queued: int) -> int:
    """Of one model and lane, base and refine as one: a job does not say in which stage its renders are queued."""
    sent: int = sum(row.sent for row in rows)
    return sent + (queued if any(row.due for row in rows) else 0)
