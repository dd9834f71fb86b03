"""What PostgreSQL does for the statements that a backlog could slow down; written to docs/plans.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import TextClause, text

from benchmarks.control_plane import rows
from benchmarks.measuring import page
from latentfarm.ids import new_id
from latentfarm.repository import accepting, claiming, dispatching, waiting
from latentfarm.states import RenderState

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

FILE = "plans.md"
_HEAD = """# Plans

What PostgreSQL does for the statements that a backlog could slow down, with {count:,} renders queued. Written by
`python -m benchmarks backlog --write`. No plan reads the backlog: each finds what it needs in an index, and what it reads
is bounded by the window, the message or the job.
"""
_STATES = {state.name.lower(): int(state) for state in RenderState}


def of(engine: Engine, queue: int) -> dict[str, str]:
    """Statement -> its plan with what it really read; nothing that is tried here is kept."""
    with engine.connect() as connection:
        place = {"queue": queue, "model": "tiny", "lane": "bulk"}
        some = text("SELECT id FROM jobs WHERE waits ORDER BY id LIMIT 3")
        jobs = {"jobs": list(connection.execute(some).scalars()), "counts": [8, 8, 8]}
        found = {
            "dispatch: what is out": _plan(connection, dispatching._COUNT, queue=queue),  # noqa: SLF001
            "dispatch: the jobs that wait": _plan(connection, waiting._VIEW, **place, look=24, least=8),  # noqa: SLF001
            "dispatch: the pick": _plan(connection, dispatching._TAKE, **place, **jobs),  # noqa: SLF001
        }
        values = _some(connection, queue)
        found["claim"] = _plan(connection, claiming._CLAIM, **values)  # noqa: SLF001
        whole = accepting._values(new_id(), rows.a_spec(1000), "", None, alone=False)  # noqa: SLF001
        found["submit, of 1,000 images"] = _plan(connection, accepting._HELD, **whole)  # noqa: SLF001
        connection.rollback()
    return found


def _plan(connection: Connection, statement: TextClause, **values: Any) -> str:
    asked = text(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {statement.text}")
    wanted = {name: values.get(name, _STATES.get(name)) for name in asked.compile().params}
    return "\n".join(str(line) for line in connection.execute(asked, wanted).scalars())


def _some(connection: Connection, queue: int) -> dict[str, Any]:
    """Renders as a message names them, dispatched a moment ago, and a worker to claim them."""
    out = text("SELECT id, fence FROM renders WHERE queue_id = :queue AND state = 1 ORDER BY id LIMIT 8")
    taken = connection.execute(out, {"queue": queue}).all()
    worker = text(
        "INSERT INTO workers (host, pid, device, stages, assigned_models, lease_until)"
        " VALUES ('plan', 0, 'cpu', '{0}', '{tiny}', now()) RETURNING id"
    )
    pairs = {"ids": [row.id for row in taken], "fences": [row.fence for row in taken]}
    return {**pairs, "worker": connection.execute(worker).scalar_one()}


def write(plans: dict[str, str], count: int) -> None:
    """docs/plans.md."""
    sections = [f"## {name}\n\n```\n{plan}\n```\n" for name, plan in plans.items()]
    (page.FOLDER / FILE).write_text("\n".join([_HEAD.format(count=count), *sections]))
