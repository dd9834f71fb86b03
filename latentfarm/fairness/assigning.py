"""Which models each worker holds: warm first, within a bound.

Times are in load times, so that a model of 20 s and one of 2 minutes are weighed alike: what a change costs is
known, and how often it may be paid follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.fairness.plan import HOLD, Change, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.fairness.affinity import Affinity, Demand, Holder

PATIENCE, PATIENCE_S = 10.0, 300.0
"""Load times, and seconds at least, for which renders of a model that nobody holds are passed by before they take a
worker away."""
HASTE = 2.0
"""Load times, the same for interactive ones."""
MARGIN = 2.0
"""A worker is moved between two models that both have work only while one side waits so many times as long after it."""


def assign(view: Affinity) -> dict[int, tuple[str, ...]]:
    """The models that each worker should hold; the same as it does, for most of them and most of the time.

    1. A worker on its way to what it was assigned is left alone, and a model that has work and is held stays.
    2. A worker is *idle* when nothing waits for its models and nothing runs. Then it takes the model that needs it
       most: first those that nobody holds, interactive ones before others; then one that is held, if those who hold
       it need longer for what waits than a load takes.
    3. A model with work that nobody holds takes a worker away once its oldest render was passed by for `patience_s` of
       that worker. The longest overdue is first. It takes from what is served best: a model without work, else one
       that others hold too, else the one with the least work for each of those who hold it. Who would be through within
       a load time is asked last, and who has interactive work after those who have not.
    4. Where several hold a model, one of them moves to another with more work, as long as that has `MARGIN` times the
       work per worker afterwards, and for `HOLD` load times: so workers are spread by demand, and none moves back at once.

    Only rule 2 changes a worker that has not held its models for `HOLD` load times. So nothing moves to and fro, and with
    W workers that may serve all of M models and hold one each, nobody is passed by for longer than its patience and
    ceil(M / W) * (`HOLD` + 1) load times.

    Costs O(workers x models) while nothing changes, and as much for each change. Equal views have equal answers,
    and the answer to its own outcome is that outcome.

    Returns:
        Of each worker in the view: models that it may serve, `most` of them at most.
    """
    plan = Plan(view)
    while (change := _for_idle(plan) or _for_overdue(plan) or _for_balance(plan)) is not None:
        plan.make(change)
    return plan.holds


def _for_idle(plan: Plan) -> Change | None:
    """Rule 2. One that was changed just now has loaded nothing yet: it may take more, while it has room."""
    free = [one for one in plan.holders.values() if one.settled and plan.is_idle(one)]
    idle = [one for one in free if one.worker not in plan.changed]
    spare = [one for one in plan.holders.values() if one.worker in plan.changed]
    for demand in plan.needs():
        held = plan.count[demand.model] > 0
        able = [one for one in idle if not held or plan.left_s(demand) > one.load_s]
        taker = _first(plan, demand, able) or (None if held else _first(plan, demand, spare))
        if taker is not None:
            wanted = [model for model in plan.holds[taker.worker] if model in plan.demands]
            rest = [model for model in plan.holds[taker.worker] if model not in plan.demands]
            return Change(taker.worker, (*wanted, demand.model, *rest)[: taker.most])
    return None


def _first(plan: Plan, demand: Demand, able: Iterable[Holder]) -> Holder | None:
    """Who gives up what others hold too, and has the fewest other uses."""
    fit = [
        one
        for one in able
        if demand.model in one.serves
        and demand.model not in plan.holds[one.worker]
        and sum(model in plan.demands for model in plan.holds[one.worker]) < one.most
    ]
    return min(
        fit,
        key=lambda one: (
            any(plan.count[model] == 1 for model in plan.holds[one.worker]),
            len(one.serves),
            one.worker,
        ),
        default=None,
    )


def patience_s(load_s: float, *, interactive: bool) -> float:
    """How long a render may be passed by before it takes a worker away whose start takes `load_s`."""
    return HASTE * load_s if interactive else max(PATIENCE_S, PATIENCE * load_s)


def _for_overdue(plan: Plan) -> Change | None:
    """Rule 3. In the order in which their patience ended: whoever is passed by anew comes behind all who were before."""
    late = [
        (_over_s(demand, holder), demand, holder, out)
        for demand in plan.demands.values()
        if not plan.count[demand.model]
        for holder, out in plan.places(demand)
    ]
    longest_s = max((over_s for over_s, *_ in late), default=-1.0)
    if longest_s < 0:
        return None
    model = min(demand.model for over_s, demand, *_ in late if over_s == longest_s)
    places = [(one, out) for over_s, demand, one, out in late if demand.model == model and over_s >= 0]
    holder, out = min(places, key=lambda place: _cheap(plan, *place))
    return plan.exchange(holder, out, model)


def _over_s(demand: Demand, holder: Holder) -> float:
    """Seconds since the patience of a model's oldest render has ended; negative: until it does."""
    over_s = demand.waited_s - patience_s(holder.load_s, interactive=False)
    if demand.interactive:
        over_s = max(over_s, demand.interactive_s - patience_s(holder.load_s, interactive=True))
    return over_s


def _cheap(plan: Plan, holder: Holder, out: str) -> tuple[object, ...]:
    demand = plan.demands.get(out)
    share_s = plan.share_s(out)
    alone = demand is not None and plan.count[out] == 1
    interactive = demand is not None and demand.interactive
    nearly_done = demand is not None and share_s < holder.load_s
    return demand is not None, alone, interactive, nearly_done, share_s, -holder.held_s, holder.worker, out


def _for_balance(plan: Plan) -> Change | None:
    """Rule 4."""
    for demand in sorted(plan.demands.values(), key=lambda one: (-plan.share_s(one.model, 1), one.model)):
        worth = [
            (one, out)
            for one, out in plan.places(demand)
            if (out in plan.demands or not one.running)  # else it is about to be idle, and rule 2 comes
            and plan.left_s(demand) > HOLD * one.load_s
            and plan.share_s(demand.model, 1) > MARGIN * plan.share_s(out, -1)
        ]
        if worth:
            holder, out = min(worth, key=lambda place: _cheap(plan, *place))
            return plan.exchange(holder, out, demand.model)
    return None
