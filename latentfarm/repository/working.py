"""Incarnations: register, renew the lease, end. All in the time of the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection

    from latentfarm.messages import Pair
    from latentfarm.states import Stage

_REGISTER = text("""
    INSERT INTO workers (host, pid, device, stages, models, models_held, assigned_models, lease_until)
    VALUES (:host, :pid, :device, :stages, :models, :models_held, :assigned,
            now() + make_interval(secs => :lease_s)) RETURNING id
""")

_RENEW = text("""
    UPDATE workers SET lease_until = now() + make_interval(secs => :lease_s)
    WHERE id = :id AND ended_at IS NULL RETURNING id
""")

# Nobody assigns anything to one that is not ready, so it has loaded what it was assigned at its start.
_READY = text("""
    UPDATE workers SET ready = true, ready_at = now(), loaded_models = assigned_models, info = CAST(:info AS jsonb)
    WHERE id = :id
""")

_END = text("""
    UPDATE workers SET ended_at = now(), end_reason = :reason
    WHERE id = ANY (CAST(:ids AS bigint[])) AND ended_at IS NULL RETURNING id
""")

# A database that has just started knows leases that nobody could renew: they get one more lease.
_EXPIRED = text("""
    SELECT id FROM workers WHERE ended_at IS NULL AND lease_until < now()
      AND pg_postmaster_start_time() < now() - make_interval(secs => :lease_s)
    ORDER BY id FOR UPDATE SKIP LOCKED
""")

# An incarnation that has ended cannot own anything; this finds what a crash between two commits left.
_STRAYS = text("""
    SELECT DISTINCT r.owner FROM renders r JOIN workers w ON w.id = r.owner
    WHERE r.state = 2 AND w.ended_at IS NOT NULL
""")

_OWNED = text("SELECT id, fence FROM renders WHERE owner = :worker AND state = 2")

_REPORT = text("""
    UPDATE workers SET info = info || CAST(:report AS jsonb) WHERE id = :worker AND ended_at IS NULL
    RETURNING assigned_models
""")


def register(
    connection: Connection,
    *,
    host: str,
    pid: int,
    device: str,
    stages: Sequence[Stage],
    models: Sequence[str],
    lease_s: float,
    models_held: int = 0,
    assigned: Sequence[str] | None = None,
) -> int:
    """Adds an incarnation with a lease; returns its id.

    Args:
        models: that it may serve.
        models_held: of these at once; 0: all.
        assigned: those that it loads; all, unless given.
    """
    values = {"host": host, "pid": pid, "device": device, "models_held": models_held, "lease_s": lease_s}
    lists = {
        "stages": [int(stage) for stage in stages],
        "models": list(models),
        "assigned": list(models if assigned is None else assigned),
    }
    return int(connection.execute(_REGISTER, {**values, **lists}).scalar_one())


def renew(connection: Connection, worker: int, *, lease_s: float) -> bool:
    """Extends the lease; False when the incarnation was ended, and must stop."""
    return connection.execute(_RENEW, {"id": worker, "lease_s": lease_s}).first() is not None


def mark_ready(connection: Connection, worker: int, info: dict[str, Any]) -> None:
    """The child is warm. `info`: device name, versions, model hashes."""
    connection.execute(_READY, {"id": worker, "info": json.dumps(info)})


def end(connection: Connection, workers: Sequence[int], reason: str) -> list[int]:
    """Ends incarnations, so that they can claim nothing more; returns those that had not ended before."""
    return list(connection.execute(_END, {"ids": list(workers), "reason": reason}).scalars())


def expired(connection: Connection, *, lease_s: float) -> list[int]:
    """Incarnations whose lease is over; none while the database is younger than one lease."""
    return list(connection.execute(_EXPIRED, {"lease_s": lease_s}).scalars())


def strays(connection: Connection) -> list[int]:
    """Ended incarnations that still own running renders."""
    return list(connection.execute(_STRAYS).scalars())


def owned(connection: Connection, worker: int) -> set[Pair]:
    """What SQL says the incarnation is running: (render id, fence) pairs."""
    return {(row.id, row.fence) for row in connection.execute(_OWNED, {"worker": worker})}


def report(connection: Connection, worker: int, counters: dict[str, Any]) -> list[str] | None:
    """Stores the counters of an incarnation where /metrics finds them.

    Returns:
        The models that it is to hold; None when it has ended.
    """
    values = {"worker": worker, "report": json.dumps({"counters": counters})}
    found: list[str] | None = connection.execute(_REPORT, values).scalar()
    return found
