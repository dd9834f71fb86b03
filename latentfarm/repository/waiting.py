"""Which jobs have renders due in a queue, and how their tenants stand: what `fairness.decide` looks at."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.fairness import Standing, View, Waiting
from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from latentfarm.records import Queue

SEVERAL = "*"
"""The model of a job whose renders are of several."""
SEALS = 1_000
"""Shards that wait to be sealed of which one look takes note."""
LEAST_LOOK, MOST_LOOK = 8, 256
"""Jobs of one tenant and priority that are looked at in one go: fewer, the more of these there are."""

_COLUMNS = """
    s.body -> 'height' AS height, s.body -> 'width' AS width,
    coalesce(s.body -> 'refiner', 'null') <> 'null' AS makes_latents,
    coalesce(t.weight, 1) AS weight, coalesce(t.deficit_s, 0) AS deficit_s, coalesce(t.in_flight, 0) AS in_flight,
    t.max_in_flight, t.recent_s / nullif(t.recent_starts, 0) AS cost_s
"""

# From rung to rung of the index: so many look-ups as there are tenants and priorities that wait, however many jobs do.
# Of each rung the oldest jobs that have something due here. Asked as a value, so that nobody makes a join of it
# that reads the backlog. `IS TRUE` keeps the planner from the unique index of job and ordinal, which has all that is
# finished, too.
_VIEW = text(f"""
    WITH RECURSIVE rung AS (
        SELECT m.model, n.tenant, n.priority FROM unnest(ARRAY[CAST(:model AS text), '{SEVERAL}']) AS m(model)
        CROSS JOIN LATERAL (
            SELECT j.tenant, j.priority FROM jobs j
            WHERE j.model = m.model AND j.lane = :lane AND j.waits AND j.paused_at IS NULL
            ORDER BY j.tenant, j.priority LIMIT 1) AS n
        UNION ALL
        SELECT rung.model, n.tenant, n.priority FROM rung CROSS JOIN LATERAL (
            SELECT j.tenant, j.priority FROM jobs j
            WHERE j.model = rung.model AND j.lane = :lane AND j.waits AND j.paused_at IS NULL
              AND (j.tenant, j.priority) > (rung.tenant, rung.priority)
            ORDER BY j.tenant, j.priority LIMIT 1) AS n)
    SELECT j.id, rung.tenant, j.queued, rung.priority, rung.model,
           EXTRACT(EPOCH FROM now() - GREATEST(j.due_at, j.picked_at))::float AS waited_s, {_COLUMNS}
    FROM rung LEFT JOIN tenants t ON t.name = rung.tenant CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT o.id, o.queued, o.spec_id, o.picked_at, (
                SELECT r.due_at FROM renders r
                WHERE r.queue_id = :queue AND uuid_hash(r.job_id) = uuid_hash(o.id) AND (r.job_id = o.id) IS TRUE
                  AND r.state = 0 AND r.due_at <= now()
                ORDER BY r.ordinal LIMIT 1) AS due_at
            FROM jobs o
            WHERE o.model = rung.model AND o.lane = :lane AND o.waits AND o.paused_at IS NULL AND o.cancelled_at IS NULL
              AND o.tenant = rung.tenant AND o.priority = rung.priority AND t.paused_at IS NULL
              AND coalesce(o.start_after <= now(), true)
            ORDER BY o.id OFFSET 0) AS asked
        WHERE due_at IS NOT NULL
        LIMIT GREATEST(CAST(:least AS bigint), 2 * CAST(:look AS bigint) / (SELECT count(*) FROM rung))) AS j
    JOIN specs s ON s.id = j.spec_id
""")  # noqa: S608 - no input in it

# Shards are few, and any job of any model may have some; a limit of renders is none of theirs, as no GPU makes them.
_SEALS = text(f"""
    WITH due AS (
        SELECT job_id, count(*) AS n, min(due_at) AS due_at FROM (
            SELECT r.job_id, r.due_at FROM renders r JOIN jobs h ON h.id = r.job_id
            LEFT JOIN tenants ht ON ht.name = h.tenant
            WHERE r.queue_id = :queue AND r.state = 0 AND r.due_at <= now() AND h.paused_at IS NULL
              AND ht.paused_at IS NULL
            LIMIT :seals) AS some_due GROUP BY job_id)
    SELECT j.id, j.tenant, due.n AS queued, j.priority, '' AS model,
           EXTRACT(EPOCH FROM now() - GREATEST(due.due_at, j.picked_at))::float AS waited_s, {_COLUMNS}
    FROM due JOIN jobs j ON j.id = due.job_id JOIN specs s ON s.id = j.spec_id LEFT JOIN tenants t ON t.name = j.tenant
    WHERE j.paused_at IS NULL AND t.paused_at IS NULL
""")  # noqa: S608 - no input in it


def view(connection: Connection, queue: Queue, room: int) -> View:
    """The jobs that the next `room` renders of a queue may come from.

    Reads a few jobs of each tenant; `is_cut` when there may be more of some.
    """
    look = max(LEAST_LOOK, min(MOST_LOOK, room))
    if queue.stage is Stage.SEAL:
        rows = connection.execute(_SEALS, {"queue": queue.id, "seals": SEALS}).all()
        is_cut = sum(row.queued for row in rows) >= SEALS
    else:
        values = {"queue": queue.id, "model": queue.model, "lane": queue.lane.value}
        rows = connection.execute(_VIEW, values | {"look": look, "least": LEAST_LOOK}).all()
        rungs = Counter((row.model, row.tenant, row.priority) for row in rows)
        is_cut = max(rungs.values(), default=0) >= min(look, LEAST_LOOK)
    return View(
        jobs=tuple(_waiting(row, queue) for row in rows),
        tenants={row.tenant: _standing(row, queue) for row in rows},
        cost_s=_mean(rows),
        is_cut=is_cut,
    )


def _waiting(row: Row[tuple[object, ...]], queue: Queue) -> Waiting:
    return Waiting(
        job_id=row.id,
        tenant=row.tenant,
        queued=row.queued,
        priority=row.priority,
        waited_s=max(0.0, row.waited_s),
        shape=(row.height or 0, row.width or 0),
        makes_latents=row.makes_latents and queue.stage is Stage.BASE,
    )


def _standing(row: Row[tuple[object, ...]], queue: Queue) -> Standing:
    most = None if queue.stage is Stage.SEAL else row.max_in_flight
    return Standing(row.weight, row.deficit_s, row.in_flight, most, row.cost_s)


def _mean(rows: Sequence[Row[tuple[object, ...]]]) -> float:
    """What a render costs the tenants that are known; 1 s while there are none."""
    known = {row.tenant: float(row.cost_s) for row in rows if row.cost_s is not None}
    return sum(known.values()) / len(known) if known else 1.0
