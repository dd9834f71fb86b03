"""Who has something waiting that could be served at once: what others owe them goes by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.repository.waiting import SEVERAL

if TYPE_CHECKING:
    from sqlalchemy import Connection

JOBS = 2_000
"""Most jobs of a tenant that are looked at for one queue: all of them may have what waits in another one."""

# From group to group of the index, whatever waits in each; then the first job of a group that dispatch would look at, by
# the same conditions as `waiting`. Asked as values, and not as EXISTS, so that nobody makes a join of it that reads the
# backlog. A queue where nothing waits is not asked for by every job; the order leads the planner to the index.
_WANTING = text(f"""
    WITH RECURSIVE g AS (
        (SELECT model, lane, tenant FROM jobs WHERE waits AND paused_at IS NULL
         ORDER BY model, lane, tenant LIMIT 1)
        UNION ALL
        SELECT n.* FROM g CROSS JOIN LATERAL (
            SELECT j.model, j.lane, j.tenant FROM jobs j WHERE j.waits AND j.paused_at IS NULL
              AND (j.model, j.lane, j.tenant) > (g.model, g.lane, g.tenant)
            ORDER BY j.model, j.lane, j.tenant LIMIT 1) AS n),
    open AS MATERIALIZED (
        SELECT id, model, lane FROM queues q
        WHERE stage < 2 AND drained_at IS NULL AND (SELECT true FROM renders r WHERE r.queue_id = q.id AND r.state = 0
                             ORDER BY uuid_hash(r.job_id) LIMIT 1))
    SELECT DISTINCT q.id AS queue_id, g.tenant
    FROM g JOIN open q ON q.lane = g.lane AND (g.model = q.model OR g.model = '{SEVERAL}')
    LEFT JOIN tenants t ON t.name = g.tenant
    CROSS JOIN LATERAL (
        SELECT true FROM (
            SELECT j.id FROM jobs j
            WHERE j.model = g.model AND j.lane = g.lane AND j.tenant = g.tenant AND j.waits AND j.paused_at IS NULL
              AND j.cancelled_at IS NULL AND coalesce(j.start_after <= now(), true)
            LIMIT :jobs) AS o
        WHERE (SELECT true FROM renders r
               WHERE r.queue_id = q.id AND uuid_hash(r.job_id) = uuid_hash(o.id) AND (r.job_id = o.id) IS TRUE
                 AND r.state = 0 AND r.due_at <= now() LIMIT 1)
        LIMIT 1) AS due
    WHERE t.paused_at IS NULL AND coalesce(t.in_flight < t.max_in_flight, true)
""")  # noqa: S608 - no input in it


def wanting(connection: Connection) -> set[tuple[int, str]]:
    """Queues of the stages that need a device, each with a tenant that would be served there if there were room.

    Not so a tenant that is paused or at its limit, and none for jobs that are paused, are to begin later, or were cancelled,
    nor for renders in back-off, nor in a drained queue.
    """
    return {(row.queue_id, row.tenant) for row in connection.execute(_WANTING, {"jobs": JOBS})}
