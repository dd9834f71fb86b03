"""Which models incarnations are assigned: at their start by the one before, later by the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORKERS, notify
from latentfarm.repository import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from latentfarm.states import Stage

STARTS = 3
"""Children in a row that may end before they were ready; then the next one tries other models."""

# Two that start at once must not choose the same. 4714: no other advisory lock of the farm has that class.
_LOCK = text("SELECT pg_advisory_xact_lock(4714, 0)")

_BEFORE = text("SELECT assigned_models FROM workers WHERE id = :before")

_STUCK = text("""
    SELECT count(*) = :starts AND bool_and(ready_at IS NULL) FROM (
        SELECT ready_at FROM workers WHERE host = :host AND device = :device AND pid = :pid
        ORDER BY id DESC LIMIT :starts) AS last
""")

# What has work and nobody holds, then what this device held last, then what few hold. The last row of a device may be
# that of another worker with the same name for its device, a CPU; while it lives, its models are its own.
_FIRST = text("""
    WITH last AS (
        SELECT CASE WHEN ended_at IS NULL THEN '{}' ELSE assigned_models END AS models FROM workers
        WHERE host = :host AND device = :device ORDER BY id DESC LIMIT 1)
    SELECT m.name FROM unnest(CAST(:models AS text[])) WITH ORDINALITY AS m(name, place)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM workers w
        WHERE w.ended_at IS NULL AND w.lease_until > now() AND w.stages && CAST(:stages AS smallint[])
          AND m.name = ANY (w.assigned_models)) AS held
    ORDER BY (held.n > 0 OR NOT EXISTS (SELECT FROM jobs j WHERE j.model = m.name AND j.waits AND j.paused_at IS NULL)),
        (m.name = ANY (coalesce((SELECT models FROM last), '{}'))) DESC, held.n, m.place
    LIMIT :most
""")

# Not ready any more: what it holds is not what it was assigned.
_REASSIGN = text("""
    UPDATE workers SET assigned_models = :models, ready = false
    WHERE id = :worker AND ended_at IS NULL AND ready RETURNING id
""")

_LOADS = text("""
    SELECT m.name, count(*) FROM workers CROSS JOIN unnest(loaded_models) AS m(name) WHERE m.name <> '' GROUP BY 1
""")


def enlist(
    connection: Connection,
    *,
    host: str,
    pid: int,
    device: str,
    stages: Sequence[Stage],
    models: Sequence[str],
    models_held: int,
    lease_s: float,
    before: int | None,
) -> tuple[int, tuple[str, ...]]:
    """Adds an incarnation, see `working.register`, with its models.

    Args:
        models: that it may serve.
        models_held: of these at once; 0: all.
        before: the incarnation before it of the same parent, whose assigned models become its own; unless `STARTS`
            in a row have not come to be ready, as where a model does not fit on the device.

    Returns:
        Its id, and the models that it is to load.
    """
    most = models_held if 0 < models_held < len(models) else 0
    assigned = tuple(models)
    if most:
        connection.execute(_LOCK)
        values = {"host": host, "device": device, "models": list(models), "most": len(models)}
        first = (
            connection.execute(_FIRST, values | {"stages": [int(stage) for stage in stages]}).scalars().all()
        )
        kept = connection.execute(_BEFORE, {"before": before}).scalar() or []
        place = {"host": host, "device": device, "pid": pid, "starts": STARTS}
        if connection.execute(_STUCK, place).scalar_one():
            wanted = [*(name for name in first if name not in kept), *kept]
        else:
            wanted = [*kept, *first]
        assigned = tuple(name for name in dict.fromkeys(wanted) if name in models)[:most]
    worker = working.register(
        connection,
        host=host,
        pid=pid,
        device=device,
        stages=stages,
        models=models,
        lease_s=lease_s,
        models_held=most,
        assigned=assigned,
    )
    return worker, assigned


def reassign(connection: Connection, worker: int, models: Sequence[str]) -> bool:
    """Has an incarnation make way for one with other models; False when it has ended or is not ready."""
    changed = connection.execute(_REASSIGN, {"worker": worker, "models": list(models)}).first()
    if changed is not None:
        notify(connection, CHANNEL_WORKERS, worker)
    return changed is not None


def loads(connection: Connection) -> dict[str, int]:
    """How many times each model was loaded, over all incarnations."""
    return {row[0]: row[1] for row in connection.execute(_LOADS)}
