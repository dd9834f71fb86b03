"""What renders are refined from: latents and images that earlier renders left.

Latents are deleted some time after the end of their job. Whoever refines them locks the rows of their
objects, and so does the sweep: either the new job finds them gone and is refused, or the sweep finds
the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.records import ObjectRef, Source
from latentfarm.states import RenderState, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

StoredObject = tuple[int, int, str]
"""Render id, fence and key."""

# A job that was itself refined from latents has none of its own: those that it was made from are meant.
_FIND = text("""
    SELECT r.ordinal, r.seed, r.state, r.stage, o.render_id, o.fence, o.key, o.sha256, o.size
    FROM renders r LEFT JOIN LATERAL (
        SELECT own.* FROM objects own
        WHERE own.render_id = r.id AND own.kind = :kind AND own.state = 'visible'
        UNION ALL
        SELECT given.* FROM render_sources s
        JOIN objects given ON given.render_id = s.object_render AND given.fence = s.object_fence
        WHERE s.render_id = r.id AND :kind = 'latents' AND given.kind = 'latents' AND given.state = 'visible'
        ORDER BY fence DESC LIMIT 1) AS o ON true
    WHERE r.job_id = :job_id AND (CAST(:indices AS int[]) IS NULL OR r.ordinal = ANY (CAST(:indices AS int[])))
    ORDER BY r.ordinal
""")

# Shared: several jobs may be made from the same latents at once.
_HOLD = text("""
    SELECT o.render_id, o.fence FROM objects o
    JOIN unnest(CAST(:renders AS bigint[]), CAST(:fences AS int[])) AS w(id, fence)
      ON w.id = o.render_id AND w.fence = o.fence
    WHERE o.state = 'visible' ORDER BY o.render_id, o.fence FOR SHARE OF o
""")

_NEEDED = """
    SELECT FROM render_sources s JOIN renders n ON n.id = s.render_id JOIN jobs u ON u.id = n.job_id
    WHERE s.object_render = o.render_id AND s.object_fence = o.fence
      AND (u.finished_at IS NULL OR u.finished_at > now() - make_interval(secs => u.keep_latents))
"""

# Jobs that may have left latents, or were made from some, and ended longer ago than they asked to keep them.
# Written as the index has it: `finished_at` in UTC, since only that plus an interval depends on no setting.
_DUE = text("""
    SELECT id FROM jobs
    WHERE latents_kept AND finished_at IS NOT NULL
      AND timezone('UTC', finished_at) + make_interval(secs => keep_latents) < timezone('UTC', now())
    ORDER BY timezone('UTC', finished_at) + make_interval(secs => keep_latents) LIMIT :limit
""")

# Those that nobody needs behind some jobs: their own ones, and of jobs of kind refine those that they refined.
_UNNEEDED = f"""
    WITH found AS (
        SELECT r.job_id, o.render_id, o.fence FROM renders r
        JOIN objects o ON o.render_id = r.id AND o.kind = 'latents'
        WHERE r.job_id = ANY (CAST(:jobs AS uuid[]))
        UNION ALL
        SELECT d.id, s.object_render, s.object_fence FROM jobs d JOIN renders r ON r.job_id = d.id
        JOIN render_sources s ON s.render_id = r.id
        WHERE d.id = ANY (CAST(:jobs AS uuid[])) AND d.kind = 'refine')
    SELECT f.job_id, o.render_id, o.fence FROM found f
    JOIN objects o ON o.render_id = f.render_id AND o.fence = f.fence
    JOIN renders r ON r.id = o.render_id JOIN jobs j ON j.id = r.job_id
    WHERE o.kind = 'latents' AND o.state = 'visible'
      AND j.finished_at < now() - make_interval(secs => j.keep_latents) AND NOT EXISTS ({_NEEDED})
"""  # noqa: S608 - no input in it

_LOCK_UNNEEDED = text(f"{_UNNEEDED} LIMIT :limit FOR UPDATE OF o SKIP LOCKED")
_ANY_UNNEEDED = text(f"SELECT DISTINCT job_id FROM ({_UNNEEDED}) AS u")  # noqa: S608 - no input in it

# Asked again once the rows are locked: a job that was committed meanwhile is seen only by a new statement.
_RETIRE = text(f"""
    UPDATE objects o SET state = 'going'
    FROM unnest(CAST(:renders AS bigint[]), CAST(:fences AS int[])) AS w(id, fence)
    WHERE w.id = o.render_id AND w.fence = o.fence AND o.state = 'visible' AND NOT EXISTS ({_NEEDED})
""")  # noqa: S608 - no input in it

_SETTLED = text("""
    WITH locked AS (SELECT id FROM jobs WHERE id = ANY (CAST(:jobs AS uuid[])) AND finished_at IS NOT NULL
                    ORDER BY id FOR UPDATE)
    UPDATE jobs j SET latents_kept = false FROM locked WHERE j.id = locked.id
""")

_TIE = text("""
    INSERT INTO render_sources (render_id, source_index, object_render, object_fence)
    SELECT r.id, w.source, w.render, w.fence FROM renders r
    JOIN unnest(CAST(:ordinals AS int[]), CAST(:sources AS int[]), CAST(:renders AS bigint[]),
                CAST(:fences AS int[])) AS w(ordinal, source, render, fence) ON w.ordinal = r.ordinal
    WHERE r.job_id = :job_id
""")


def find(connection: Connection, job_id: UUID, kind: str, indices: Sequence[int] | None) -> list[Source]:
    """Images of a job by index, each with what there is of it to be refined. The caller has checked the tenant.

    Args:
        kind: `latents` or `image`.
        indices: of the images; None: all.
    """
    values = {"job_id": job_id, "kind": kind, "indices": None if indices is None else list(indices)}
    return [_source(row) for row in connection.execute(_FIND, values)]


def hold(connection: Connection, sources: Sequence[Source]) -> set[int]:
    """Locks what is to be refined until the transaction ends; the indices of what is gone."""
    held = {(row.render_id, row.fence) for row in connection.execute(_HOLD, _pairs(sources))}
    return {source.index for source in sources if source.stored not in held}


def tie(connection: Connection, job_id: UUID, sources: Sequence[Source]) -> None:
    """Writes down what the renders of a new job are made from, in the order of their ordinals."""
    own = {
        "ordinals": list(range(len(sources))),
        "sources": [source.index for source in sources],
        "job_id": job_id,
    }
    connection.execute(_TIE, _pairs(sources) | own)


def retire_latents(connection: Connection, *, jobs: int, limit: int) -> int:
    """Marks latents that nobody needs as going; returns how many.

    A job is looked at once its time is over, and no more when nothing of it is left to be marked: what
    another job still needs is found behind that one. Latents that are being held at this moment are not,
    so their job is looked at again.

    Args:
        jobs: at most so many are looked at.
        limit: at most so many latents are marked.
    """
    due = list(connection.execute(_DUE, {"limit": jobs}).scalars())
    if not due:
        return 0
    locked = connection.execute(_LOCK_UNNEEDED, {"jobs": due, "limit": limit}).all()
    pairs = {"renders": [row.render_id for row in locked], "fences": [row.fence for row in locked]}
    retired = connection.execute(_RETIRE, pairs).rowcount if locked else 0
    left = set(connection.execute(_ANY_UNNEEDED, {"jobs": due}).scalars())
    connection.execute(_SETTLED, {"jobs": [job for job in due if job not in left]})
    return retired


def _pairs(sources: Sequence[Source]) -> dict[str, object]:
    stored = [source.stored for source in sources if source.stored is not None]
    return {"renders": [render for render, _ in stored], "fences": [fence for _, fence in stored]}


def _source(row: Row[tuple[object, ...]]) -> Source:
    there = row.render_id is not None
    return Source(
        index=row.ordinal,
        seed=row.seed,
        state=RenderState(row.state),
        stage=Stage(row.stage),
        stored=(row.render_id, row.fence) if there else None,
        ref=ObjectRef(row.key, bytes(row.sha256), row.size) if there else None,
    )
