"""What the evidence says of poison and of the healthy renders around it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.states import RenderState

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Poisoned:
    """Two kinds of renders, side by side.

    Attributes:
        healthy: render id -> its state at the end.
        ends: the same of poison; `starts`: how often each was claimed, `started`: when.
        made: when healthy renders succeeded.
        charged: healthy renders that were charged at any time, refunded or not.
        interrupted: claims of healthy renders that ended because a process did; `killed`: such processes.
    """

    healthy: dict[int, int]
    ends: dict[int, int]
    starts: dict[int, int]
    starts_by_kind: dict[str, int]
    started: list[float]
    made: list[float]
    charged: set[int]
    interrupted: int
    killed: int

    @classmethod
    def of(cls, evidence: Evidence) -> Poisoned:
        """Reads SQL and the trace of moves."""
        plans = evidence.plan_of_jobs()
        kinds = {row["id"]: plans[str(row["job_id"])]["poison"] for row in evidence.renders}
        states = {row["id"]: row["state"] for row in evidence.renders}
        claims = [row for row in evidence.attempts if kinds[row["render_id"]]]
        others = [row for row in evidence.attempts if not kinds[row["render_id"]]]
        healthy = {render: state for render, state in states.items() if not kinds[render]}
        moves = [row for row in evidence.moves if row["render_id"] in healthy]
        starts = Counter(row["render_id"] for row in claims)
        return cls(
            healthy=healthy,
            ends={render: state for render, state in states.items() if kinds[render]},
            starts={render: starts[render] for render in states if kinds[render]},
            starts_by_kind=dict(Counter(kinds[row["render_id"]] for row in claims)),
            started=[row["started_at"].timestamp() for row in claims],
            made=[
                row["at"].timestamp() for row in moves if row["was"] != row["state"] == RenderState.SUCCEEDED
            ],
            charged={row["render_id"] for row in moves if row["tries"]}
            | {row["render_id"] for row in others if row["charged"]},
            interrupted=sum(row["outcome"] == "lost" for row in others),
            killed=len({row["worker_id"] for row in evidence.attempts if row["outcome"] == "lost"}),
        )

    @property
    def unmade(self) -> int:
        """Healthy renders without a picture."""
        return sum(state != RenderState.SUCCEEDED for state in self.healthy.values())

    def ends_other_than(self, wanted: RenderState) -> int:
        """Poison that ended otherwise."""
        return sum(state != wanted for state in self.ends.values())
