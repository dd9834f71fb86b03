"""What a megapixel-step of a model costs on this farm, by what its queues were charged of late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

RECENT = 2_000
"""Attempts, of whatever model, among which those of this one are looked for."""

_CHARGED = text("""
    SELECT sum(recent_gpu_s) AS gpu_s, sum(recent_starts) AS starts FROM queues WHERE model = :model AND stage < 2
""")

_WORK = text("""
    SELECT count(*) AS n,
           avg(a.steps * CAST(s.body ->> 'width' AS float) * CAST(s.body ->> 'height' AS float)) / 1e6 AS work
    FROM (SELECT render_id, queue_id, steps FROM attempts ORDER BY started_at DESC LIMIT :most) AS a
    JOIN queues q ON q.id = a.queue_id AND q.model = :model AND q.stage < 2
    JOIN renders r ON r.id = a.render_id JOIN specs s ON s.id = r.spec_id
    WHERE a.steps > 0
""")


@dataclass(frozen=True, slots=True)
class Cost:
    """What renders of a model were charged.

    Attributes:
        gpu_s: GPU-seconds of `starts` claims, older ones counting less.
        work: megapixel-steps of a claim, the mean of the last `claims`.
    """

    gpu_s: float
    starts: float
    work: float
    claims: int

    @property
    def each_s(self) -> float:
        """GPU-seconds of a megapixel-step."""
        return self.gpu_s / self.starts / self.work


def cost_of(connection: Connection, model: str) -> Cost | None:
    """What is known of a model; None while nothing of it was measured."""
    charged = connection.execute(_CHARGED, {"model": model}).one()
    work = connection.execute(_WORK, {"model": model, "most": RECENT}).one()
    if not charged.gpu_s or not work.work or charged.starts < 0.5:
        return None
    return Cost(charged.gpu_s, charged.starts, work.work, work.n)
