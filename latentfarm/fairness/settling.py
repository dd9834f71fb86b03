"""Who is owed GPU-seconds, and who had too many: the accounts of tenants, and of the lanes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_S = 300.0
"""Most that anybody is owed or owes. Who could not be served for hours must not have the farm to himself afterwards."""


@dataclass(frozen=True, slots=True)
class Account:
    """One side of the sharing.

    Attributes:
        wants: whether it has something waiting that could be served.
        holds: whether any render of it is on its way.
    """

    name: str
    weight: float
    deficit_s: float
    wants: bool
    holds: bool


def settle(accounts: Sequence[Account], charged: Mapping[str, float]) -> dict[str, float]:
    """The deficits after a while in which each had `charged` GPU-seconds.

    Who wants more than it got shares, by weight, what all have had, less what those had who want nothing more and
    stayed within their part: they took it from nobody. Among those who want more, the changes of deficits cancel
    out. Who wants nothing is owed nothing, and a debt ends with the last render.
    """
    active = [one for one in accounts if one.wants or one.holds or charged.get(one.name)]
    total = sum(charged.get(one.name, 0.0) for one in active)
    weights = sum(one.weight for one in active)
    content = {
        one.name: min(charged.get(one.name, 0.0), total * one.weight / weights)
        for one in active
        if not one.wants
    }
    wanting = sum(one.weight for one in active if one.wants)
    pool = total - sum(content.values())
    found: dict[str, float] = {}
    for one in accounts:
        part = pool * one.weight / wanting if one.wants else content.get(one.name, 0.0)
        deficit = one.deficit_s + part - charged.get(one.name, 0.0)
        if not one.wants:
            deficit = min(0.0, deficit) if one.holds else 0.0
        found[one.name] = max(-LIMIT_S, min(LIMIT_S, deficit))
    return found
