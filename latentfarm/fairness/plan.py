"""What workers would hold after some changes, and what each change would mean."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.fairness.affinity import Affinity, Demand, Holder

HOLD = 4.0
"""Load times for which a worker with work keeps what it holds: at most a fifth of its time is spent on changes."""


class Change(NamedTuple):
    """Other models for a worker."""

    worker: int
    models: tuple[str, ...]


class Plan:
    """Workers, what waits, and what each would hold after the changes so far.

    `demands` are the models with work, `count` and `slots` the workers that hold a model and their places.
    """

    def __init__(self, view: Affinity) -> None:
        self.demands = {one.model: one for one in view.demands if one.waiting > 0}
        self.holders = {one.worker: one for one in sorted(view.holders, key=lambda one: one.worker)}
        self.holds = {
            one.worker: tuple(dict.fromkeys(m for m in one.holds if m in one.serves))[: one.most]
            for one in self.holders.values()
        }
        self.changed: set[int] = set()
        self.count = Counter(model for held in self.holds.values() for model in held)
        self.slots: Counter[str] = Counter()
        for one in self.holders.values():
            self.slots.update(dict.fromkeys(self.holds[one.worker], one.slots))

    def make(self, change: Change) -> None:
        """Takes a change up."""
        slots = self.holders[change.worker].slots
        for models, sign in ((self.holds[change.worker], -1), (change.models, 1)):
            for model in models:
                self.count[model] += sign
                self.slots[model] += sign * slots
        self.holds[change.worker] = change.models
        self.changed.add(change.worker)

    def needs(self) -> list[Demand]:
        """Models with work: those that nobody holds first, of these interactive ones, then by what is left undone."""
        return sorted(
            self.demands.values(),
            key=lambda one: (
                self.count[one.model] > 0,
                not one.interactive,
                -self.left_s(one),
                one.model,
            ),
        )

    def left_s(self, demand: Demand) -> float:
        """Seconds for which those who hold a model still work at what they could not take at once."""
        count = self.count[demand.model]
        if not count:
            return demand.work_s
        return max(0, demand.waiting - self.slots[demand.model]) * demand.cost_s / count

    def share_s(self, model: str, more: int = 0) -> float:
        """Seconds of work for each of those who hold a model, were they `more`."""
        demand = self.demands.get(model)
        if demand is None:
            return 0.0
        count = self.count[model] + more
        return demand.work_s / count if count > 0 else float("inf")

    def is_idle(self, holder: Holder) -> bool:
        """Whether nothing waits for what it holds, and nothing runs."""
        return not holder.running and not any(model in self.demands for model in self.holds[holder.worker])

    def keeps(self, holder: Holder) -> bool:
        """Whether it must be left what it holds, whatever waits."""
        on_the_way = not holder.settled or holder.worker in self.changed
        return on_the_way or holder.held_s < HOLD * holder.load_s

    def places(self, demand: Demand) -> Iterator[tuple[Holder, str]]:
        """Workers that may be changed for a model, with each model that might give way; "": there is room for one more."""
        for holder in self.holders.values():
            held = self.holds[holder.worker]
            if self.keeps(holder) or demand.model in held or demand.model not in holder.serves:
                continue
            for model in held if len(held) >= holder.most else ("",):
                yield holder, model

    def exchange(self, holder: Holder, out: str, into: str) -> Change:
        """One model for another."""
        kept = (model for model in self.holds[holder.worker] if model != out)
        return Change(holder.worker, (into, *kept)[: holder.most])
