"""Which jobs the next renders of a queue come from.

Deficit round-robin with the smallest quantum there is, one render: tenants first, then the jobs of a tenant. A
tenant's deficit is kept in GPU-seconds by `settling`; what is on its way is counted here at its measured cost, so
that one who has just come is not owed a whole window before the first charge arrives.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latentfarm.fairness.view import Standing, Take

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.fairness.view import Credits, View, Waiting

RUNG_S = 600.0
"""A job that has waited so long goes before those of a priority higher by one: no priority starves another for ever."""
LEAST_COST_S = 1e-6
"""Renders that cost nothing would never give way."""


@dataclass(slots=True)
class _Job:
    waiting: Waiting
    left: int
    taken: int = 0


@dataclass(slots=True)
class _Turns:
    """The jobs of one tenant: highest rung first, and among equals the one that was served longest ago."""

    left: float
    jobs: list[tuple[int, int, float, UUID, _Job]] = field(default_factory=list)

    def add(self, waiting: Waiting) -> None:
        rung = waiting.priority + int(waiting.waited_s // RUNG_S)
        job = _Job(waiting, waiting.queued)
        heapq.heappush(self.jobs, (-rung, 0, -waiting.waited_s, waiting.job_id, job))

    def take(self, turn: int, latents: float) -> _Job | None:
        """The job whose turn it is, moved behind the others; None: nothing more to be had."""
        while self.jobs and self.left > 0:
            rung, _, waited, name, job = heapq.heappop(self.jobs)
            if job.left <= 0 or (job.waiting.makes_latents and latents <= 0):
                continue
            job.left -= 1
            job.taken += 1
            self.left -= 1
            heapq.heappush(self.jobs, (rung, turn, waited, name, job))
            return job
        return None


def decide(view: View, given: Credits) -> list[Take]:
    """Shares credits out.

    Costs O(jobs + credits) heap operations, however many renders the jobs have. Takes less than it is given
    only when every job is exhausted, or its tenant is at its limit or paused, or it waits for room for latents.

    Returns:
        Jobs in the order of their turns, those of equal shape side by side, as renders of equal shape share forwards.
    """
    turns = _turns(view)
    latents = float("inf") if given.latents is None else given.latents
    order = [(behind(view, name), 0, name) for name in turns]
    heapq.heapify(order)
    served: dict[UUID, _Job] = {}
    turn = 0
    while order and turn < given.renders:
        place, _, name = heapq.heappop(order)
        job = turns[name].take(turn + 1, latents)
        if job is None:
            continue
        turn += 1
        latents -= job.waiting.makes_latents
        served.setdefault(job.waiting.job_id, job)
        heapq.heappush(order, (place + cost(view, name), turn, name))
    return _side_by_side(list(served.values()))


def behind(view: View, name: str) -> float:
    """How far a tenant comes behind one that is owed nothing and has nothing on its way."""
    standing = view.tenants.get(name, Standing())
    return standing.in_flight * cost(view, name) - standing.deficit_s / standing.weight


def cost(view: View, name: str) -> float:
    """GPU-seconds of one render by the weight of its tenant."""
    standing = view.tenants.get(name, Standing())
    cost_s = view.cost_s if standing.cost_s is None else standing.cost_s
    return max(cost_s, LEAST_COST_S) / standing.weight


def _turns(view: View) -> dict[str, _Turns]:
    found: dict[str, _Turns] = {}
    for waiting in view.jobs:
        standing = view.tenants.get(waiting.tenant, Standing())
        left = float("inf") if standing.most is None else standing.most - standing.in_flight
        if standing.paused or left <= 0:
            continue
        found.setdefault(waiting.tenant, _Turns(left)).add(waiting)
    return found


def _side_by_side(served: list[_Job]) -> list[Take]:
    seen: dict[tuple[int, int], int] = {}
    for job in served:
        seen.setdefault(job.waiting.shape, len(seen))
    served.sort(key=lambda job: seen[job.waiting.shape])  # stable: turns stay in order
    return [Take(job.waiting.job_id, job.taken) for job in served]
