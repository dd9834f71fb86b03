"""What tenants may have: how much may wait, and what is paused."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.errors import TooMuchQueued
from latentfarm.repository.charging import FADE_S
from latentfarm.repository.waiting import SEVERAL

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

SOONEST_S, LATEST_S = 1, 600
"""Bounds of what a tenant is told to wait."""
LEFT = 10
"""A part of a tenant's limit in so many is left to its other jobs by datasets that come in."""

_CAP = text("SELECT max_queued FROM tenants WHERE name = :tenant")

# By model and lane, as the index is: reads the jobs of this tenant alone, and no more of them than may wait.
_QUEUED = text(f"""
    SELECT coalesce(sum(held.n), 0)::bigint AS queued, (SELECT recent_starts FROM tenants WHERE name = :tenant) AS starts
    FROM (SELECT model, lane FROM queues UNION SELECT '{SEVERAL}', lane FROM queues) AS q CROSS JOIN LATERAL (
        SELECT sum(j.queued) AS n FROM jobs j WHERE j.model = q.model AND j.lane = q.lane AND j.tenant = :tenant
          AND j.waits AND j.paused_at IS NULL) AS held
""")  # noqa: S608 - no input in it

_PAUSE = text("""
    UPDATE jobs SET paused_at = CASE WHEN :paused THEN coalesce(paused_at, now()) END
    WHERE id = :id AND tenant = :tenant AND finished_at IS NULL RETURNING id
""")


def check_room(connection: Connection, tenant: str, more: int) -> None:
    """Refuses further renders of a tenant that has as many waiting as it may; before they are stored.

    Jobs that are stored at the same moment do not see each other, so that the limit may be passed by a little.

    Raises:
        TooMuchQueued: with the seconds after which there should be room.
    """
    cap = connection.execute(_CAP, {"tenant": tenant}).scalar()
    if cap is not None:
        _compare(connection, tenant, more, cap, stored=0)


def queued(connection: Connection, tenant: str) -> int:
    """Renders of a tenant that wait, but for those of paused jobs."""
    return int(connection.execute(_QUEUED, {"tenant": tenant}).one().queued)


def dataset_room(connection: Connection, tenant: str, more: int, *, own: int = 0) -> tuple[int, str]:
    """How many of `more` renders of a dataset may come in now.

    Datasets fill nine tenths of a tenant's limit, else no other job of it would find room beside one that comes in. They
    do so by a tenth of it at least, or by all that is left: each time a part of the spool is read again.

    Args:
        own: renders of the dataset that are queued and do not count as such, since it is paused.

    Returns:
        (renders, "") or (0, why it is none).
    """
    cap = connection.execute(_CAP, {"tenant": tenant}).scalar()
    if cap is None:
        return more, ""
    waiting = queued(connection, tenant) + own
    room = min(more, cap - cap // LEFT - waiting)
    if room < max(1, min(more, cap // LEFT)):
        return 0, f"{waiting} renders of the tenant wait already, and {cap} may: more come in as these begin"
    return room, ""


def check_cap(connection: Connection, tenant: str, more: int, cap: int, *, stored: int) -> None:
    """The same where the limit is known, and `stored` of the renders wait by this transaction already."""
    _compare(connection, tenant, more, cap, stored=stored)


def _compare(connection: Connection, tenant: str, more: int, cap: int, *, stored: int) -> None:
    found = connection.execute(_QUEUED, {"tenant": tenant}).one()
    waiting = found.queued - stored
    over = waiting + more - cap
    if over > 0:
        told = f"{waiting} renders wait already, and {cap} may: {more} more must wait until {over} have begun"
        raise TooMuchQueued(told, wait_s(over, found.starts or 0.0))


def wait_s(over: int, recent_starts: float) -> int:
    """Seconds until so many have begun, at the rate of the last minute."""
    rate = recent_starts * log(2) / FADE_S
    return LATEST_S if rate <= 0 else max(SOONEST_S, min(LATEST_S, round(over / rate)))


def pause_job(connection: Connection, job_id: UUID, *, tenant: str, paused: bool) -> bool:
    """Holds back what of a job is not dispatched yet, or lets it go on; False when it has ended or is not theirs."""
    values = {"id": job_id, "tenant": tenant, "paused": paused}
    return connection.execute(_PAUSE, values).first() is not None
