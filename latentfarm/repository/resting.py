"""Devices that failed one render after the other: how long they rest, and which do."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.evidence import Resting

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The quarantines before this one that followed each other within an hour.
_BEFORE = text("""
    SELECT EXTRACT(EPOCH FROM lag(l.ended_at, 1, me.ended_at) OVER (ORDER BY l.id DESC) - l.ended_at) AS apart_s
    FROM workers me JOIN workers l ON l.host = me.host AND l.device = me.device AND l.id < me.id
    WHERE me.id = :id AND me.end_reason = 'quarantined' AND l.end_reason = 'quarantined'
    ORDER BY l.id DESC LIMIT 10
""")

_REST = text("""
    UPDATE workers SET rest_until = now() + make_interval(secs => :rest_s)
    WHERE id = :id AND end_reason = 'quarantined' RETURNING id
""")

# A device whose parent was started anew rests no longer, whatever the row of its last life says.
_RESTING = text("""
    SELECT w.id, w.host, w.device, EXTRACT(EPOCH FROM w.rest_until - now())::float AS left_s FROM workers w
    WHERE w.rest_until > now() AND NOT EXISTS (
        SELECT FROM workers n WHERE n.host = w.host AND n.device = w.device AND n.id > w.id)
    ORDER BY w.id
""")

LONGEST_S = 900.0
CHAIN_S = 3600.0
"""Quarantines of a device that are further apart have nothing to do with each other."""


def rest(connection: Connection, worker: int, *, first_s: float) -> float:
    """Seconds for which the device of an ended incarnation must rest; 0.0 unless it was quarantined.

    Args:
        first_s: after a first quarantine; doubled for each that came within an hour before, to 15 minutes.
    """
    apart_s = [float(row.apart_s) for row in connection.execute(_BEFORE, {"id": worker})]
    before = len(list(takewhile(lambda gap: gap <= CHAIN_S, apart_s)))
    rest_s = min(LONGEST_S, first_s * 2**before)
    found = connection.execute(_REST, {"id": worker, "rest_s": rest_s}).first()
    return 0.0 if found is None else rest_s


def resting(connection: Connection) -> list[Resting]:
    """Devices that were sent to rest, and have not come back."""
    return [Resting(*row) for row in connection.execute(_RESTING)]
