"""When a job would have its turn, by the rules of `deciding`, without going through the turns of all the others."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from latentfarm.fairness.deciding import behind, cost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.fairness.view import View


@dataclass(frozen=True, slots=True)
class Turn:
    """How a job stands among the jobs of its tenant.

    Attributes:
        queued: renders of it that wait.
        higher: renders of the jobs that go before it.
        before: jobs beside it that were not served for longer.
        beside: renders of the jobs beside it that go before its last one: of each as many as it has, or all.
    """

    queued: int
    higher: int
    before: int
    beside: int


def foresee(view: View, tenant: str, turn: Turn, waiting: Mapping[str, int]) -> tuple[int, int]:
    """Renders that would be served before the next one of a job, and before its last one.

    As if no more came, nobody's priority rose, and all renders of a tenant cost the same; limits of renders in flight
    are not heeded.

    Args:
        view: how the tenants stand; its jobs are not looked at.
        waiting: renders that wait, by tenant.
    """
    first = turn.higher + turn.before
    last = turn.higher + turn.beside + max(0, turn.queued - 1)
    others = [name for name in waiting if name != tenant]
    return (
        first + sum(_until(view, tenant, first, name, waiting[name]) for name in others),
        last + sum(_until(view, tenant, last, name, waiting[name]) for name in others),
    )


def _until(view: View, tenant: str, turns: int, other: str, most: int) -> int:
    """Turns of another tenant before this one has its next, after so many: who is further behind is served."""
    place = behind(view, tenant) + turns * cost(view, tenant)
    return max(0, min(most, ceil((place - behind(view, other)) / cost(view, other))))
