"""The states of half-done renders: planned before they are put, visible by a commit afterwards.

Both are fenced. A checkpoint is never needed: a render without one starts from its first step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.keys import checkpoint_key
from latentfarm.records import ObjectRef
from latentfarm.states import RenderState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, TextClause

    from latentfarm.messages import Pair
    from latentfarm.records import Saved

Useless = tuple[int, int, int, str]
"""Render id, fence, step and key."""

# The rows are locked, in id order as everywhere: a rescue must not come between the look and the write.
_HELD = """
    locked AS (
        SELECT r.id, r.fence, r.stage FROM renders r JOIN w ON w.id = r.id AND w.fence = r.fence
        WHERE r.state = :running ORDER BY r.id FOR UPDATE OF r)
"""

# The same state may come a second time, when a worker is stopped just after it was saved.
_PLAN = text(f"""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[]), CAST(:steps AS smallint[]),
                                    CAST(:taken AS smallint[]), CAST(:keys AS text[]))
               AS w(id, fence, step, taken, key)),
    {_HELD},
    planned AS (
        INSERT INTO checkpoints (render_id, fence, step, stage, taken, state, key)
        SELECT w.id, w.fence, w.step, l.stage, w.taken, 'planned', w.key
        FROM w JOIN locked l ON l.id = w.id AND l.fence = w.fence ON CONFLICT DO NOTHING)
    SELECT id, fence FROM locked
""")  # noqa: S608 - no input in it

_SHOW = text(f"""
    WITH w AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[]), CAST(:steps AS smallint[]),
                                    CAST(:shas AS bytea[]), CAST(:sizes AS bigint[]))
               AS w(id, fence, step, sha256, size)),
    {_HELD}
    UPDATE checkpoints c SET state = 'visible', sha256 = w.sha256, size = w.size
    FROM w JOIN locked l ON l.id = w.id AND l.fence = w.fence
    WHERE c.render_id = w.id AND c.fence = w.fence AND c.step = w.step
    RETURNING c.render_id AS id, c.fence
""")  # noqa: S608 - no input in it

# By fence first: what the last owner has left was made by software that it could use itself.
_NEWEST = text("""
    SELECT DISTINCT ON (c.render_id) c.render_id, c.key, c.sha256, c.size
    FROM checkpoints c JOIN renders r ON r.id = c.render_id AND r.stage = c.stage
    WHERE c.render_id = ANY (CAST(:ids AS bigint[])) AND c.state = 'visible'
    ORDER BY c.render_id, c.fence DESC, c.step DESC
""")

_TAKEN = text("""
    SELECT c.render_id, c.fence, max(c.taken) AS taken FROM checkpoints c
    JOIN unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[])) AS w(id, fence)
      ON w.id = c.render_id AND w.fence = c.fence
    GROUP BY c.render_id, c.fence
""")

_WITHDRAW = text("UPDATE checkpoints SET state = 'planned' WHERE render_id = :id AND state = 'visible'")

# The age of what was planned counts from the end of the attempt: its upload must have ended, too.
_USELESS = text("""
    SELECT c.render_id, c.fence, c.step, c.key FROM checkpoints c JOIN renders r ON r.id = c.render_id
    LEFT JOIN attempts a ON a.render_id = c.render_id AND a.fence = c.fence
    WHERE CASE c.state WHEN 'visible' THEN
        r.state > :running OR r.stage <> c.stage OR EXISTS (
            SELECT FROM checkpoints n WHERE n.render_id = c.render_id AND n.state = 'visible'
              AND n.stage = c.stage AND (n.fence, n.step) > (c.fence, c.step))
      ELSE
        c.created_at < now() - make_interval(secs => :after_s)
        AND coalesce(a.ended_at, c.created_at) < now() - make_interval(secs => :after_s)
        AND NOT (r.state = :running AND r.fence = c.fence)
      END
    LIMIT :limit FOR UPDATE OF c SKIP LOCKED
""")

_FORGET = text("""
    DELETE FROM checkpoints c
    USING unnest(CAST(:ids AS bigint[]), CAST(:fences AS int[]), CAST(:steps AS smallint[])) AS d(id, fence, step)
    WHERE c.render_id = d.id AND c.fence = d.fence AND c.step = d.step
""")


def plan(connection: Connection, saved: Sequence[Saved]) -> set[Pair]:
    """Writes down what is about to be put into the bucket; the pairs that are still held."""
    values = {
        **_steps(saved),
        "taken": [item.taken for item in saved],
        "keys": [checkpoint_key(item.render_id, item.fence, item.step) for item in saved],
    }
    return _pairs(connection, _PLAN, values)


def show(connection: Connection, saved: Sequence[Saved]) -> set[Pair]:
    """Makes planned checkpoints that are in the bucket visible; the pairs that are still held."""
    there = [(item, item.ref) for item in saved if item.ref is not None]
    values = {
        **_steps([item for item, _ in there]),
        "shas": [ref.sha256 for _, ref in there],
        "sizes": [ref.size for _, ref in there],
    }
    return _pairs(connection, _SHOW, values)


def newest(connection: Connection, renders: Sequence[int]) -> dict[int, ObjectRef]:
    """By render, the newest visible checkpoint of the stage that it is in."""
    if not renders:
        return {}
    rows = connection.execute(_NEWEST, {"ids": list(renders)})
    return {row.render_id: ObjectRef(row.key, bytes(row.sha256), row.size) for row in rows}


def taken(connection: Connection, pairs: Sequence[Pair]) -> dict[Pair, int]:
    """How many steps claims are known to have taken: those up to their last checkpoint, put or not."""
    values = {"ids": [pair[0] for pair in pairs], "fences": [pair[1] for pair in pairs]}
    return {(row.render_id, row.fence): row.taken for row in connection.execute(_TAKEN, values)}


def withdraw(connection: Connection, render_id: int) -> None:
    """Nobody goes on from what a render has left: it was at fault, perhaps because of just that state."""
    connection.execute(_WITHDRAW, {"id": render_id})


def useless(connection: Connection, *, after_s: float, limit: int) -> list[Useless]:
    """Checkpoints that nobody will go on from: of renders that are final, in another stage or further on.

    Args:
        after_s: seconds after which a planned one that can no longer become visible counts.
    """
    values = {"after_s": after_s, "limit": limit, "running": int(RenderState.RUNNING)}
    return [tuple(row) for row in connection.execute(_USELESS, values)]


def forget(connection: Connection, found: Sequence[Useless]) -> None:
    """Deletes the rows of checkpoints that are no longer in the bucket."""
    values = {"ids": [item[0] for item in found], "fences": [item[1] for item in found]}
    connection.execute(_FORGET, {**values, "steps": [item[2] for item in found]})


def _steps(saved: Sequence[Saved]) -> dict[str, list[int]]:
    return {
        "ids": [item.render_id for item in saved],
        "fences": [item.fence for item in saved],
        "steps": [item.step for item in saved],
    }


def _pairs(connection: Connection, statement: TextClause, values: dict[str, Any]) -> set[Pair]:
    rows = connection.execute(statement, {**values, "running": int(RenderState.RUNNING)})
    return {(row.id, row.fence) for row in rows}
