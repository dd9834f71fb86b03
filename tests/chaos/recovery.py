"""How long renders were without a worker after a fault, and how much work was done twice."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from latentfarm.states import RenderState

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

INTERRUPTED = ("lost", "released")


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: list[float]) -> dict[str, Any]:
    """Count, p50, p99 and maximum, in seconds."""
    if not values:
        return {"n": 0}
    figures = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
    return {"n": len(values), **{name: round(value, 2) for name, value in figures.items()}}


def recovery(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Per kind of fault: how long the renders that it interrupted took back to their queue, and on to their
    next claim."""
    back, claimed = returns(evidence)
    return {kind: {"queued": spread(back[kind]), "claimed": spread(claimed[kind])} for kind in sorted(back)}


def returns(evidence: Evidence) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Per kind of fault: seconds from the fault to the return of each render that it interrupted; and to its
    next claim."""
    ends: dict[int, list[Any]] = defaultdict(list)
    starts: dict[tuple[int, int], Any] = {}
    fences: dict[int, list[int]] = defaultdict(list)
    for row in evidence.attempts:
        fences[row["render_id"]].append(row["fence"])
        starts[row["render_id"], row["fence"]] = row["started_at"]
        if row["outcome"] in INTERRUPTED:
            ends[row["worker_id"]].append(row)
    back: dict[str, list[float]] = defaultdict(list)
    claimed: dict[str, list[float]] = defaultdict(list)
    for fault in evidence.told("fault"):
        for row in ends[fault.get("incarnation", 0)]:
            waited = row["ended_at"].timestamp() - fault["t"]
            if waited < 0:
                continue
            back[fault["fault"]].append(waited)
            later = [fence for fence in fences[row["render_id"]] if fence > row["fence"]]
            if later:
                again = starts[row["render_id"], min(later)]
                claimed[fault["fault"]].append(again.timestamp() - fault["t"])
    return back, claimed


def wasted(evidence: Evidence) -> float:
    """Steps of healthy renders that succeeded done more than once, as a share of those that were needed."""
    counted = {row["id"] for row in evidence.renders if row["state"] == RenderState.SUCCEEDED}
    done = [(render, stage, step) for render, _, stage, step in evidence.steps if render in counted]
    needed = len(set(done))
    return (len(done) - needed) / needed if needed else 0.0


def attempts_by_outcome(evidence: Evidence) -> dict[str, int]:
    """How claims ended."""
    counts: dict[str, int] = defaultdict(int)
    for row in evidence.attempts:
        counts[str(row["outcome"])] += 1
    return dict(sorted(counts.items()))
