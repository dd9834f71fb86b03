"""How long renders waited for a worker while a fault lasted, and until the farm had settled after it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.states import RenderState

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

_WAITING = (RenderState.QUEUED, RenderState.DISPATCHED)


@dataclass(frozen=True, slots=True)
class Wait:
    """One stay of a render in its queue, from its arrival there to its claim. Seconds since the epoch."""

    since: float
    until: float


def waits(evidence: Evidence) -> list[Wait]:
    """Every stay that ended with a claim. One that never ended is a stuck render, and told as such."""
    since: dict[int, float] = {}
    found = []
    for move in evidence.moves:
        at, render = move["at"].timestamp(), move["render_id"]
        if move["state"] in _WAITING:
            since.setdefault(render, at)
        elif render in since:
            began = since.pop(render)
            if move["state"] == RenderState.RUNNING:
                found.append(Wait(began, at))
    return found


def slowest(evidence: Evidence) -> dict[str, list[float]]:
    """Per kind, for each of its faults: the longest that any render waited, from the fault or its own arrival.

    What counts was waiting at the moment of the fault or came until it was over: a share of all renders would
    mostly tell of those that the fault did not touch.
    """
    stays = waits(evidence)
    over = {line["number"]: line["t"] for line in evidence.told("fault_over")}
    found: dict[str, list[float]] = defaultdict(list)
    for fault in evidence.told("fault"):
        if fault["number"] in over:
            began, ended = fault["t"], over[fault["number"]]
            touched = [stay for stay in stays if stay.until >= began and stay.since <= ended]
            found[fault["fault"]].append(max(stay.until - max(stay.since, began) for stay in touched))
    return dict(found)


def first_claims(evidence: Evidence) -> dict[str, list[float]]:
    """Per kind, for each of its faults: seconds until the next claim of any render."""
    claims = sorted(row["started_at"].timestamp() for row in evidence.attempts)
    found: dict[str, list[float]] = defaultdict(list)
    for fault in evidence.told("fault"):
        later = [at for at in claims if at >= fault["t"]]
        if later:
            found[fault["fault"]].append(later[0] - fault["t"])
    return dict(found)
