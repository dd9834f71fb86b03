"""Whose fault a failure is: the render's, if it fails on two devices; a device's, if several renders fail there.

A device is a host and a name on it, whatever incarnations use it one after the other.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.retry import BLAMES_DEVICE, TELLING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

LATEST = 10
"""So many ended attempts of a device are looked at."""
GUILTY = 3
"""Different renders among them that failed for the device's sake: it is sent to rest."""
QUARANTINED = "quarantined"
"""Why the incarnation of such a device ended."""

_ELSEWHERE = text("""
    SELECT DISTINCT r.id FROM renders r JOIN workers mine ON mine.id = r.owner
    JOIN attempts a ON a.render_id = r.id AND a.stage = r.stage
    JOIN workers w ON w.id = a.worker_id
    WHERE r.id = ANY (CAST(:ids AS bigint[])) AND a.charged AND NOT a.refunded
      AND a.error_class = ANY (CAST(:telling AS text[])) AND (w.host, w.device) <> (mine.host, mine.device)
""")

# A few are enough: a device that dies at every start has one attempt in each life.
_LIVES = text("""
    SELECT l.id, l.end_reason FROM workers me JOIN workers l ON l.host = me.host AND l.device = me.device
    WHERE me.id = :worker ORDER BY l.id DESC LIMIT 2 * :latest
""")

# Only what says something of the device: an attempt that ended well, or was charged; and one for all that was in
# a process when its device broke: which of them did it, if any, shows when it runs alone. The inner limits
# bound the cost; they are larger, since attempts do not end in the order in which they began.
_GUILTY = text("""
    WITH latest AS (
        SELECT v.* FROM unnest(CAST(:lives AS bigint[])) AS l(id), LATERAL (
            (SELECT a.render_id, a.ended_at,
                    a.charged AND NOT a.refunded AND a.error_class = ANY (CAST(:blames AS text[])) AS bad
             FROM attempts a
             WHERE a.worker_id = l.id AND a.ended_at IS NOT NULL
               AND (a.charged OR a.outcome IN ('succeeded', 'handed_over'))
             ORDER BY a.started_at DESC LIMIT 6 * :latest)
            UNION ALL
            SELECT min(b.render_id), max(b.ended_at), true FROM (
                SELECT * FROM attempts a WHERE a.worker_id = l.id
                ORDER BY a.started_at DESC LIMIT 6 * :latest) AS b
            WHERE b.error_class = 'device' AND NOT b.charged HAVING count(*) > 0) AS v
        ORDER BY v.ended_at DESC LIMIT :latest)
    SELECT DISTINCT render_id FROM latest WHERE bad
      AND NOT EXISTS (
        SELECT FROM attempts o JOIN workers w ON w.id = o.worker_id JOIN workers me ON me.id = :worker
        WHERE o.render_id = latest.render_id AND o.charged AND o.error_class = ANY (CAST(:blames AS text[]))
          AND o.refunded = ((w.host, w.device) = (me.host, me.device)))
""")

_QUARANTINE = text("""
    UPDATE workers SET ended_at = coalesce(ended_at, now()), end_reason = :reason WHERE id = :worker
""")

_REFUND = text("""
    WITH back AS (
        UPDATE attempts SET refunded = true
        WHERE render_id = ANY (CAST(:guilty AS bigint[])) AND worker_id = ANY (CAST(:lives AS bigint[]))
          AND charged AND NOT refunded AND error_class = ANY (CAST(:blames AS text[]))
        RETURNING render_id, stage),
    sums AS (SELECT render_id, stage, count(*) AS n FROM back GROUP BY render_id, stage),
    locked AS (SELECT r.id FROM renders r JOIN sums s ON s.render_id = r.id ORDER BY r.id FOR UPDATE OF r)
    UPDATE renders r SET tries = GREATEST(0, r.tries - s.n) FROM sums s, locked
    WHERE r.id = s.render_id AND r.id = locked.id AND r.stage = s.stage AND r.state < 3
""")


def failed_elsewhere(connection: Connection, renders: Iterable[int]) -> set[int]:
    """Those of the running `renders` that failed before, in the same stage, on another device than now."""
    values = {"ids": sorted(renders), "telling": sorted(TELLING)}
    return set(connection.execute(_ELSEWHERE, values).scalars()) if values["ids"] else set()


def quarantine(connection: Connection, workers: Iterable[int]) -> list[int]:
    """Ends incarnations whose device fails one render after the other, and refunds what these were charged.

    A render that failed on another device as well is not held against this one, nor is one that was
    refunded here before: bad prompts on the only device of a farm would send it to rest again and again.
    Final renders stay as they are, and starts are not refunded: they end what would otherwise go round for
    ever.

    Args:
        workers: that have just had a failure which may be their device's.

    Returns:
        Those that are ended for it. What they still run is for the caller to give back.
    """
    return [worker for worker in sorted(workers) if _is_guilty(connection, worker)]


def _is_guilty(connection: Connection, worker: int) -> bool:
    rows = connection.execute(_LIVES, {"worker": worker, "latest": LATEST})
    lives = [row.id for row in takewhile(lambda row: row.end_reason != QUARANTINED, rows)]
    if worker not in lives:
        return False
    values = {"worker": worker, "lives": lives, "blames": sorted(BLAMES_DEVICE), "latest": LATEST}
    guilty = connection.execute(_GUILTY, values).scalars().all()
    if len(guilty) < GUILTY:
        return False
    connection.execute(_QUARANTINE, {"worker": worker, "reason": QUARANTINED})
    connection.execute(_REFUND, {"guilty": guilty, "lives": lives, "blames": values["blames"]})
    return True
