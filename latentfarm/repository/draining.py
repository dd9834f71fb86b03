"""Devices and queues that an operator has drained: they get nothing new until they are resumed.

A device is a host and a name on it, whatever process serves it: so the mark outlives the worker, its restart, and
those of everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

Device = tuple[str, str]
"""Host, and the name of the device on it."""

_DEVICES = text("""
    SELECT host, device FROM workers
    WHERE (ended_at IS NULL OR ended_at > now() - interval '1 day')
      AND (CAST(id AS text) = :name OR :name IN (host, device, host || '/' || device))
    UNION
    SELECT host, device FROM drains WHERE :name IN (host, device, host || '/' || device)
    ORDER BY host, device
""")

_DRAIN = text("""
    INSERT INTO drains (host, device)
    SELECT * FROM unnest(CAST(:hosts AS text[]), CAST(:devices AS text[])) AS d(host, device) ORDER BY host, device
    ON CONFLICT (host, device) DO NOTHING
""")

_RESUME = text("""
    DELETE FROM drains USING unnest(CAST(:hosts AS text[]), CAST(:devices AS text[])) AS d(host, device)
    WHERE drains.host = d.host AND drains.device = d.device
""")

_IS_DRAINED = text("SELECT EXISTS (SELECT FROM drains WHERE host = :host AND device = :device)")

_COUNT = text("SELECT count(*) FROM drains")

_WORKERS = text("""
    SELECT w.id, coalesce(w.host, d.host) AS host, coalesce(w.device, d.device) AS device, w.stages, w.assigned_models,
           coalesce(w.ready, false) AS ready, EXTRACT(EPOCH FROM w.lease_until - now())::float AS lease_left_s,
           (SELECT count(*) FROM renders r WHERE r.owner = w.id AND r.state = 2) AS running, d.drained_at
    FROM (SELECT * FROM workers WHERE ended_at IS NULL) AS w
    FULL JOIN drains d ON d.host = w.host AND d.device = w.device
    ORDER BY host, device, w.id
""")

_QUEUE = text("""
    UPDATE queues SET drained_at = CASE WHEN :drained THEN coalesce(drained_at, now()) END
    WHERE name = :name RETURNING id
""")

_QUEUES = text("SELECT name, drained_at FROM queues ORDER BY name")


@dataclass(frozen=True, slots=True)
class Standing:
    """A live incarnation, or a drained device without one.

    Attributes:
        id: None: nobody serves the device.
        lease_left_s: seconds; below 0 when it has fallen silent.
        running: renders that it holds.
    """

    id: int | None
    host: str
    device: str
    stages: list[int] | None
    assigned_models: list[str] | None
    ready: bool
    lease_left_s: float | None
    running: int
    drained_at: datetime | None


def devices_of(connection: Connection, name: str) -> list[Device]:
    """What somebody means by the id of a worker, a host, a device, or `host/device`.

    Devices that somebody has served within a day, and those that are drained.
    """
    return [(row.host, row.device) for row in connection.execute(_DEVICES, {"name": name})]


def set_drained(connection: Connection, devices: Sequence[Device], *, drained: bool) -> None:
    """Drains devices, or lets them work again; those that are so already stay as they are."""
    values = {"hosts": [host for host, _ in devices], "devices": [device for _, device in devices]}
    connection.execute(_DRAIN if drained else _RESUME, values)
    # Windows have another size now.
    notify(connection, CHANNEL_WORK, "")


def is_drained(connection: Connection, host: str, device: str) -> bool:
    """Whether a device is to get nothing."""
    return bool(connection.execute(_IS_DRAINED, {"host": host, "device": device}).scalar_one())


def workers(connection: Connection) -> list[Standing]:
    """All live incarnations, and drained devices."""
    return [Standing(*row) for row in connection.execute(_WORKERS)]


def set_queue_drained(connection: Connection, name: str, *, drained: bool) -> bool:
    """Sends nothing more out of a queue, or lets it go on; False when there is no such queue."""
    found = connection.execute(_QUEUE, {"name": name, "drained": drained}).scalar()
    if found is not None:
        notify(connection, CHANNEL_WORK, found)
    return found is not None


def figures(connection: Connection) -> tuple[dict[str, datetime | None], int]:
    """Every queue, and since when it is drained; and how many devices are."""
    return drained_queues(connection), int(connection.execute(_COUNT).scalar_one())


def drained_queues(connection: Connection) -> dict[str, datetime | None]:
    """Every queue, and since when it is drained."""
    return {row.name: row.drained_at for row in connection.execute(_QUEUES)}
