"""GPU-seconds are charged to tenants and lanes, and what both are owed follows.

A second of a worker is shared by the renders that it runs, by the pixels of each: a forward holds many, so the times
of their attempts overlap, and their sum says nothing. What a scheduler that was away has missed is charged to nobody.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.fairness.limits import WEIGHTS
from latentfarm.fairness.settling import Account, settle
from latentfarm.repository.pacing import keep_pace
from latentfarm.repository.wanting import wanting
from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

METER = "gpu"
LONGEST_S = 10.0
"""Most seconds that one sweep charges."""
FADE_S = 60.0
"""Half of what a render is known to have cost is forgotten in so many seconds."""

_READ = text("""
    WITH before AS (SELECT read_at FROM meters WHERE name = :meter FOR UPDATE),
    moved AS (
        INSERT INTO meters (name, read_at) VALUES (:meter, now())
        ON CONFLICT (name) DO UPDATE SET read_at = excluded.read_at)
    SELECT EXTRACT(EPOCH FROM now() - read_at)::float AS past_s, read_at FROM before
""")

# Before anything is counted: a pick that has raised `in_flight` must be seen with the renders that it took.
_LOCK = text("SELECT name FROM tenants ORDER BY name FOR UPDATE")

# Both states by their own partial indexes: this reads what is on its way, whatever waits or has ended.
_RUNNING = text("""
    WITH running AS (
        SELECT r.owner, r.queue_id, j.tenant,
               coalesce((s.body ->> 'height')::float * (s.body ->> 'width')::float, 1) AS pixels
        FROM renders r JOIN workers w ON w.id = r.owner JOIN jobs j ON j.id = r.job_id JOIN specs s ON s.id = r.spec_id
        WHERE r.state = 2 AND r.stage < 2 AND w.ended_at IS NULL),
    parts AS (SELECT *, pixels / sum(pixels) OVER (PARTITION BY owner) AS part FROM running)
    SELECT tenant, queue_id, sum(part)::float AS workers, count(*) AS renders FROM parts GROUP BY tenant, queue_id
""")

_ON_THE_WAY = text("""
    SELECT j.tenant, sum(live.n)::int AS n FROM (
        SELECT job_id, count(*) AS n FROM renders WHERE state = 1 AND stage < 2 GROUP BY job_id
        UNION ALL SELECT job_id, count(*) FROM renders WHERE state = 2 AND stage < 2 GROUP BY job_id) AS live
    JOIN jobs j ON j.id = live.job_id GROUP BY j.tenant
""")

_STARTED = text("""
    SELECT j.tenant, a.queue_id, count(*) AS n
    FROM attempts a JOIN renders r ON r.id = a.render_id JOIN jobs j ON j.id = r.job_id
    WHERE a.started_at > :since AND a.started_at <= now() AND a.stage < 2 GROUP BY j.tenant, a.queue_id
""")

_TENANTS = text("SELECT name, weight, deficit_s FROM tenants")

_CHARGE = text("""
    INSERT INTO tenants AS t (name, deficit_s, used_s, recent_s, recent_starts, in_flight)
    SELECT * FROM unnest(CAST(:names AS text[]), CAST(:deficits AS float8[]), CAST(:used AS float8[]),
                         CAST(:used AS float8[]), CAST(:starts AS float8[]), CAST(:in_flight AS int[])) AS d
    ORDER BY 1
    ON CONFLICT (name) DO UPDATE SET deficit_s = excluded.deficit_s, used_s = t.used_s + excluded.used_s,
        recent_s = t.recent_s * :keep + excluded.recent_s,
        recent_starts = t.recent_starts * :keep + excluded.recent_starts, in_flight = excluded.in_flight
""")

_QUEUES = text("""
    SELECT q.id, q.stage, q.model, q.lane, q.deficit_s,
           EXISTS (SELECT FROM renders WHERE queue_id = q.id AND state = 1) AS holds
    FROM queues q WHERE q.stage < 2
""")

_OWE = text("""
    UPDATE queues q SET deficit_s = d.deficit_s
    FROM unnest(CAST(:ids AS int[]), CAST(:deficits AS float8[])) AS d(id, deficit_s)
    WHERE q.id = d.id AND q.deficit_s <> d.deficit_s
""")


def charge(connection: Connection) -> float:
    """Charges the seconds since the last call; the first one only begins to count.

    The meter is moved in the same transaction, so no second is charged twice, whoever calls.

    Returns:
        GPU-seconds that were charged.
    """
    read = connection.execute(_READ, {"meter": METER}).first()
    if read is None or read.past_s <= 0:
        return 0.0
    connection.execute(_LOCK)
    seconds = min(read.past_s, LONGEST_S)
    tenants: dict[str, float] = defaultdict(float)
    queues: dict[int, float] = defaultdict(float)
    runs: dict[int, float] = defaultdict(float)
    for row in connection.execute(_RUNNING):
        tenants[row.tenant] += row.workers * seconds
        queues[row.queue_id] += row.workers * seconds
        runs[row.queue_id] += row.renders * seconds
    wanted = wanting(connection)
    begun, starts = _started(connection, read.read_at)
    _charge_tenants(connection, tenants, {tenant for _, tenant in wanted}, begun, seconds)
    waiting = {queue for queue, _ in wanted}
    _charge_lanes(connection, queues, waiting)
    if read.past_s <= LONGEST_S:
        keep_pace(connection, seconds, starts=starts, runs=runs, gpu=queues, wanted=waiting)
    return sum(tenants.values())


def _started(connection: Connection, since: Any) -> tuple[dict[str, float], dict[int, float]]:
    """Renders that began since then, by tenant and by queue."""
    tenants: dict[str, float] = defaultdict(float)
    queues: dict[int, float] = defaultdict(float)
    for row in connection.execute(_STARTED, {"since": since}):
        tenants[row.tenant] += row.n
        queues[row.queue_id] += row.n
    return tenants, queues


def _charge_tenants(
    connection: Connection,
    charged: Mapping[str, float],
    waiting: set[str],
    starts: Mapping[str, float],
    seconds: float,
) -> None:
    in_flight = {row.tenant: row.n for row in connection.execute(_ON_THE_WAY)}
    known = {row.name: row for row in connection.execute(_TENANTS)}
    names = sorted({*known, *charged, *in_flight, *waiting})
    accounts = [
        Account(
            name,
            known[name].weight if name in known else 1.0,
            known[name].deficit_s if name in known else 0.0,
            wants=name in waiting,
            holds=name in in_flight,
        )
        for name in names
    ]
    deficits = settle(accounts, charged)
    values = {
        "names": names,
        "deficits": [deficits[name] for name in names],
        "used": [charged.get(name, 0.0) for name in names],
        "starts": [float(starts.get(name, 0)) for name in names],
        "in_flight": [in_flight.get(name, 0) for name in names],
        "keep": 0.5 ** (seconds / FADE_S),
    }
    if names:
        connection.execute(_CHARGE, values)


def _charge_lanes(connection: Connection, charged: Mapping[int, float], waiting: set[int]) -> None:
    """The lanes of one stage and model share as tenants do, by the weights of lanes."""
    rows = connection.execute(_QUEUES).all()
    groups: dict[tuple[int, str], list[Account]] = defaultdict(list)
    for row in rows:
        holds = row.holds or row.id in charged
        wants = row.id in waiting
        account = Account(str(row.id), WEIGHTS[Lane(row.lane)], row.deficit_s, wants=wants, holds=holds)
        groups[row.stage, row.model].append(account)
    named = {str(queue): seconds for queue, seconds in charged.items()}
    deficits = {
        int(name): owed
        for accounts in groups.values()
        for name, owed in settle(
            accounts, {one.name: named[one.name] for one in accounts if one.name in named}
        ).items()
    }
    if deficits:
        connection.execute(_OWE, {"ids": list(deficits), "deficits": list(deficits.values())})
