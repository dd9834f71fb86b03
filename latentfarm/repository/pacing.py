"""How fast a queue goes: what its renders take, and how many its workers begin in a second.

Counted in the seconds in which it has work alone, the last ones most: a queue that was idle for a night knows in the
morning what it knew in the evening. By worker, so that what is known still holds when there are more or fewer of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from sqlalchemy import Connection

    from latentfarm.states import Stage

FADE_S = 120.0
"""Half of what is known is forgotten in so many seconds with work."""

_KEEP = text("""
    UPDATE queues q SET
        recent_starts = q.recent_starts * :keep + d.starts, recent_run_s = q.recent_run_s * :keep + d.run_s,
        recent_gpu_s = q.recent_gpu_s * :keep + d.gpu_s,
        recent_worker_s = q.recent_worker_s * :keep + :seconds * (
            SELECT count(*) FROM workers w WHERE w.ended_at IS NULL AND w.lease_until > now() AND w.ready
              AND q.stage = ANY (w.stages) AND q.model = ANY (w.assigned_models))
    FROM unnest(CAST(:ids AS int[]), CAST(:starts AS float8[]), CAST(:runs AS float8[]), CAST(:gpu AS float8[]))
         AS d(id, starts, run_s, gpu_s)
    WHERE q.id = d.id
""")

_PACES = text("""
    SELECT q.name, q.lane, q.recent_starts, q.recent_worker_s, q.recent_run_s, q.recent_gpu_s, (
        SELECT count(*) FROM workers w WHERE w.ended_at IS NULL AND w.lease_until > now()
          AND q.stage = ANY (w.stages) AND q.model = ANY (w.assigned_models)) AS workers
    FROM queues q WHERE q.model = :model AND q.stage = :stage
""")


@dataclass(frozen=True, slots=True)
class Pace:
    """What a queue did of late, and the live workers that serve it now.

    Attributes:
        starts: renders that were claimed, older ones counting less.
        worker_s: seconds of workers in which they were.
        run_s: seconds that renders ran; a worker runs several at a time.
        gpu_s: seconds of workers that they took.
    """

    name: str
    starts: float
    worker_s: float
    run_s: float
    gpu_s: float
    workers: int

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to go by."""
        return self.starts >= 0.5 and self.worker_s > 0

    @property
    def per_s(self) -> float:
        """Renders that all its workers begin in a second; 0 without any, or without a measure."""
        return self.starts / self.worker_s * self.workers if self.is_measured else 0.0

    @property
    def run_each_s(self) -> float:
        """Seconds that one render runs."""
        return self.run_s / self.starts if self.is_measured else 0.0


def keep_pace(
    connection: Connection,
    seconds: float,
    *,
    starts: Mapping[int, float],
    runs: Mapping[int, float],
    gpu: Mapping[int, float],
    wanted: AbstractSet[int],
) -> None:
    """Adds `seconds` to what is known of the queues that had work in them.

    Args:
        starts: by queue: renders that were claimed.
        runs: renders that ran, times seconds.
        gpu: GPU-seconds that they were charged.
        wanted: queues where something waited that could have been served.
    """
    ids = sorted({*starts, *runs, *gpu, *wanted})
    if not ids:
        return
    values = {
        "ids": ids,
        "starts": [starts.get(one, 0.0) for one in ids],
        "runs": [runs.get(one, 0.0) for one in ids],
        "gpu": [gpu.get(one, 0.0) for one in ids],
        "seconds": seconds,
        "keep": 0.5 ** (seconds / FADE_S),
    }
    connection.execute(_KEEP, values)


def paces(connection: Connection, model: str, stage: Stage) -> dict[str, Pace]:
    """Of both lanes of a model's stage, by lane, where there is such a queue."""
    rows = connection.execute(_PACES, {"model": model, "stage": int(stage)})
    return {
        row.lane: Pace(
            row.name, row.recent_starts, row.recent_worker_s, row.recent_run_s, row.recent_gpu_s, row.workers
        )
        for row in rows
    }
