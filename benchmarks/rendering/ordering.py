"""The farm's arm: images asked for through the API, done when SQL says that each of their jobs has succeeded."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from latentfarm.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from benchmarks.measuring.farm import Running
    from benchmarks.rendering.wanted import Wanted

SENDERS = 4
"""Requests under way at the same time."""
_POLL_S = 0.25
"""Seldom: the question is answered by the database that is measured."""
_REPORT_S = 2.5
"""A worker tells its counters every two seconds."""
_OPEN = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
_STATES = "SELECT state, count(*) FROM jobs GROUP BY state"
_ROWS = (
    "SELECT sum((info->'counters'->>'rows')::int), sum((info->'counters'->>'bucket_rows')::int)"
    " FROM workers WHERE ended_at IS NULL"
)


def render(running: Running, images: Sequence[Wanted], lane: str = "bulk") -> float:
    """Hands in a job for each image; returns the images per second until the last one is there.

    Raises:
        RuntimeError: a job did not succeed.
    """
    with Client(running.url) as client, running.connect() as database, ThreadPoolExecutor(SENDERS) as pool:
        began = time.perf_counter()
        for sent in [pool.submit(client.submit, wanted.spec(lane)) for wanted in images]:
            sent.result()
        while _row(database, _OPEN)[0]:
            time.sleep(_POLL_S)
        took = time.perf_counter() - began
        states = dict(database.execute(_STATES).fetchall())
    if set(states) != {"succeeded"}:
        raise RuntimeError(f"jobs ended as {states}")
    return len(images) / took


def occupied(running: Running) -> tuple[int, int]:
    """Rows of all forwards so far that had a sample, and rows that these forwards could have had."""
    time.sleep(_REPORT_S)
    with running.connect() as database:
        taken, could = _row(database, _ROWS)
    return int(taken or 0), int(could or 0)


def _row(database: Connection[Any], query: str) -> tuple[Any, ...]:
    found = database.execute(query).fetchone()
    return found if found is not None else (None, None)
