"""Results that were kept for as long as their jobs asked go; the records stay.

A sweep marks jobs whose time is over, and nobody is led to their images and files from that commit on. A later one
marks their objects as going, for `collect` to delete. The files of a dataset are not rows of `objects`: they go with
whatever else of it is left over, see `leftovers`.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.keys import render_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

WINDOW = 10_000
"""Images that one sweep looks at, about: a dataset has up to ten million."""

# Written as the index has it, see `sources`.
_MARK = text("""
    WITH due AS (
        SELECT id FROM jobs
        WHERE retain_days IS NOT NULL AND results_gone_at IS NULL AND finished_at IS NOT NULL
          AND timezone('UTC', finished_at) + make_interval(secs => 86400 * retain_days) < timezone('UTC', now())
        ORDER BY timezone('UTC', finished_at) + make_interval(secs => 86400 * retain_days)
        LIMIT :limit FOR UPDATE SKIP LOCKED)
    UPDATE jobs j SET results_gone_at = now(), clear_from = 0 FROM due WHERE j.id = due.id
""")

# A dataset of millions must not hold up the others. One that was thrown away may still be at work: what becomes visible
# after its images were looked at would stay.
_MARKED = text("""
    SELECT id, kind, clear_from, num_images FROM jobs WHERE clear_from IS NOT NULL AND finished_at IS NOT NULL
    ORDER BY clear_from, id LIMIT :limit FOR UPDATE SKIP LOCKED
""")

_LOCK = text("""
    SELECT o.render_id, o.fence
    FROM unnest(CAST(:jobs AS uuid[]), CAST(:firsts AS int[])) AS w(job, first)
    JOIN renders r ON r.job_id = w.job AND r.ordinal >= w.first AND r.ordinal < w.first + :window
    JOIN objects o ON o.render_id = r.id AND o.kind = 'image' AND o.state = 'visible'
    ORDER BY o.render_id, o.fence FOR UPDATE OF o
""")

# Asked once the rows are locked: an image that another job starts from stays for that one.
_CLEAR = text("""
    UPDATE objects o SET state = 'going'
    FROM unnest(CAST(:renders AS bigint[]), CAST(:fences AS int[])) AS w(id, fence)
    WHERE w.id = o.render_id AND w.fence = o.fence AND o.state = 'visible'
      AND NOT EXISTS (SELECT FROM inputs i WHERE i.sha256 = o.sha256 AND i.key = o.key)
""")

_LEFT_OVER = text("""
    UPDATE datasets SET untidy_since = now(), tidied_to = '' WHERE id = ANY (CAST(:jobs AS uuid[]))
""")

_CLEARED = text("""
    UPDATE jobs j SET clear_from = CASE WHEN w.next < j.num_images THEN w.next END
    FROM unnest(CAST(:jobs AS uuid[]), CAST(:nexts AS int[])) AS w(job, next) WHERE j.id = w.job
""")

_RELEASE = text("""
    UPDATE objects o SET state = 'going' FROM renders r JOIN jobs j ON j.id = r.job_id
    WHERE o.render_id = ANY (CAST(:renders AS bigint[])) AND o.key = ANY (CAST(:keys AS text[]))
      AND r.id = o.render_id AND o.kind = 'image' AND o.state = 'visible' AND j.results_gone_at IS NOT NULL
""")


def mark_due(connection: Connection, *, limit: int) -> int:
    """Takes the results of jobs out of reach that ended longer ago than they are to be kept; returns how many jobs."""
    return connection.execute(_MARK, {"limit": limit}).rowcount


def clear_marked(connection: Connection, *, limit: int) -> int:
    """Marks images of jobs that an earlier transaction has marked as going; returns how many images.

    Args:
        limit: jobs that are looked at, up to `WINDOW` images of each, and about as many of all.
    """
    jobs = _within(connection.execute(_MARKED, {"limit": limit}).all())
    if not jobs:
        return 0
    ids = [job.id for job in jobs]
    values = {"jobs": ids, "firsts": [job.clear_from for job in jobs], "window": WINDOW}
    rows = connection.execute(_LOCK, values).all()
    pairs = {"renders": [row.render_id for row in rows], "fences": [row.fence for row in rows]}
    cleared = connection.execute(_CLEAR, pairs).rowcount if rows else 0
    connection.execute(_CLEARED, {"jobs": ids, "nexts": [job.clear_from + WINDOW for job in jobs]})
    if datasets := [job.id for job in jobs if job.kind == "dataset" and job.clear_from == 0]:
        connection.execute(_LEFT_OVER, {"jobs": datasets})
    return cleared


def _within(jobs: Sequence[Row[Any]]) -> list[Row[Any]]:
    """The first jobs that have `WINDOW` images together."""
    before = accumulate((min(WINDOW, job.num_images - job.clear_from) for job in jobs), initial=0)
    return [job for job, images in zip(jobs, before, strict=False) if images < WINDOW]


def release(connection: Connection, keys: Sequence[str]) -> None:
    """Images that were kept for jobs that start from them, and no longer are, go when their own job's time is over."""
    renders = {key: render for key in keys if (render := render_of(key)) is not None}
    if renders:
        values = {"renders": sorted(set(renders.values())), "keys": list(renders)}
        connection.execute(_RELEASE, values)
