"""Which models workers hold: warm first, nobody passed by beyond the bound, nothing moved for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentfarm.fairness import Affinity, Demand, Holder, assign
from latentfarm.fairness.assigning import MARGIN, patience_s
from latentfarm.fairness.plan import HOLD

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = "abcde"
LOAD_S = 20.0
LONG = HOLD * LOAD_S
LATE_S = patience_s(LOAD_S, interactive=False)
SOON_S = patience_s(LOAD_S, interactive=True)
# Views are many draws, and other tests run beside these.
patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def holder(worker: int, holds: str, serves: str = NAMES, **fields: object) -> Holder:
    values = {"held_s": LONG, "load_s": LOAD_S, "slots": 8, "most": max(1, len(holds)), **fields}
    return Holder(worker, tuple(serves), tuple(holds), **values)  # type: ignore[arg-type]


def assigned(holders: Sequence[Holder], *demands: Demand) -> dict[int, str]:
    found = assign(Affinity(tuple(holders), demands))
    return {worker: "".join(models) for worker, models in found.items()}


@st.composite
def views(draw: st.DrawFn) -> Affinity:
    holders = []
    for worker in range(draw(st.integers(0, 6))):
        serves = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
        holders.append(
            holder(
                worker,
                "".join(draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))),
                "".join(serves),
                most=draw(st.integers(1, 3)),
                held_s=draw(st.sampled_from([0.0, LONG / 2, LONG, 10 * LONG])),
                load_s=draw(st.sampled_from([1.0, LOAD_S, 300.0])),
                slots=draw(st.sampled_from([0, 8, 32])),
                running=draw(st.sampled_from([0, 0, 5])),
                settled=draw(st.booleans()),
            )
        )
    demands = []
    for model in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        interactive = draw(st.booleans())
        demands.append(
            Demand(
                model,
                draw(st.sampled_from([0, 1, 30, 1000, 100_000])),
                interactive,
                waited_s=draw(st.floats(0, 5000)),
                interactive_s=draw(st.floats(0, 500)) if interactive else 0.0,
                cost_s=draw(st.sampled_from([0.01, 1.0, 30.0])),
            )
        )
    return Affinity(tuple(holders), tuple(demands))


def outcome(view: Affinity) -> Affinity:
    """The same workers on their way to what they were assigned."""
    found = assign(view)
    changed = [
        one
        if set(found[one.worker]) == set(one.holds)
        else replace(one, holds=found[one.worker], held_s=0.0, settled=False)
        for one in view.holders
    ]
    return replace(view, holders=tuple(changed))


@patient
@given(views())
def test_nobody_is_assigned_what_it_may_not_serve_or_more_than_it_holds(view: Affinity) -> None:
    found = assign(view)
    assert set(found) == {one.worker for one in view.holders}
    for one in view.holders:
        models = found[one.worker]
        assert set(models) <= set(one.serves)
        assert len(models) == len(set(models)) <= one.most


@patient
@given(views())
def test_equal_views_have_equal_answers_and_an_outcome_has_no_further_changes(view: Affinity) -> None:
    found = assign(view)
    assert assign(Affinity(view.holders[::-1], view.demands[::-1])) == found
    assert assign(outcome(view)) == found


@patient
@given(views())
def test_who_is_on_the_way_or_has_just_begun_keeps_what_it_was_assigned(view: Affinity) -> None:
    found = assign(view)
    work = {one.model for one in view.demands if one.waiting}
    for one in view.holders:
        kept = tuple(model for model in one.holds if model in one.serves)[: one.most]
        has_work = one.running > 0 or work.intersection(kept)
        if not one.settled or (has_work and one.held_s < HOLD * one.load_s):
            assert found[one.worker] == kept


@patient
@given(views())
def test_no_model_with_work_is_left_out_where_an_idle_worker_could_take_it(view: Affinity) -> None:
    found = assign(view)
    work = {one.model for one in view.demands if one.waiting}
    held = {model for models in found.values() for model in models}
    for one in view.holders:
        if one.settled and not one.running and not work.intersection(found[one.worker]):
            assert not (work - held).intersection(one.serves)


@patient
@given(views())
def test_no_model_is_passed_by_beyond_the_bound_while_a_worker_may_be_changed_for_it(view: Affinity) -> None:
    found = assign(view)
    held = {model for models in found.values() for model in models}
    before = {one.worker: set(one.holds) for one in view.holders}
    for demand in view.demands:
        if not demand.waiting or demand.model in held:
            continue
        for one in view.holders:
            late = demand.waited_s >= patience_s(one.load_s, interactive=False) or (
                demand.interactive and demand.interactive_s >= patience_s(one.load_s, interactive=True)
            )
            could = one.settled and one.held_s >= HOLD * one.load_s and demand.model in one.serves
            if late and could:
                assert (
                    set(found[one.worker]) != before[one.worker]
                )  # it went to somebody who is longer overdue


def test_what_is_warm_and_has_work_stays() -> None:
    both = [holder(1, "a"), holder(2, "b")]
    assert assigned(both, Demand("a", 1), Demand("b", 1), Demand("c", 10_000)) == {1: "a", 2: "b"}


def test_an_idle_worker_takes_what_needs_it_most() -> None:
    idle = holder(1, "a", held_s=0.0)
    assert assigned([idle]) == {1: "a"}
    assert assigned([idle], Demand("b", 10), Demand("c", 20)) == {1: "c"}
    assert assigned([idle], Demand("b", 10), Demand("c", 20, cost_s=0.1)) == {1: "b"}
    assert assigned([idle], Demand("b", 1, interactive=True), Demand("c", 20)) == {1: "b"}
    assert assigned([replace(idle, running=1)], Demand("b", 10)) == {1: "a"}


def test_an_idle_worker_helps_only_those_who_need_longer_than_a_load() -> None:
    pair = [holder(1, "a"), holder(2, "b")]
    assert assigned(pair, Demand("b", 8 + int(LOAD_S))) == {1: "a", 2: "b"}
    assert assigned(pair, Demand("b", 8 + int(LOAD_S) + 1)) == {1: "b", 2: "b"}


def test_of_idle_workers_one_goes_that_leaves_its_model_with_another() -> None:
    assert assigned([holder(1, "b"), holder(2, "a"), holder(3, "a")], Demand("c", 1)) == {1: "b", 2: "c", 3: "a"}  # fmt: skip


def test_who_was_passed_by_for_long_takes_a_worker_from_the_best_served() -> None:
    late = Demand("c", 5, waited_s=LATE_S)
    early = replace(late, waited_s=late.waited_s - 1)
    some, more = Demand("a", 100), Demand("b", 200)
    pair = [holder(1, "a"), holder(2, "b")]
    assert assigned(pair, some, more, early) == {1: "a", 2: "b"}
    assert assigned(pair, some, more, late) == {1: "c", 2: "b"}
    # The one who is nearly through is spared.
    assert assigned(pair, replace(some, waiting=10), more, late) == {1: "a", 2: "c"}
    # Neither has held its model for long.
    assert assigned([replace(one, held_s=LONG - 1) for one in pair], some, more, late) == {1: "a", 2: "b"}
    # Of two who share a model one can be spared.
    three = [holder(1, "b"), holder(2, "a"), holder(3, "a")]
    assert assigned(three, some, more, late)[1] == "b"


def test_interactive_work_waits_less_and_is_not_interrupted_while_others_may_be() -> None:
    hasty = Demand("c", 1, True, waited_s=SOON_S, interactive_s=SOON_S)
    pair = [holder(1, "a"), holder(2, "b")]
    some, more = Demand("a", 100, interactive=True), Demand("b", 200)
    assert assigned(pair, some, more, replace(hasty, interactive_s=SOON_S - 1)) == {1: "a", 2: "b"}
    assert assigned(pair, some, more, hasty) == {1: "a", 2: "c"}


def test_the_longest_overdue_is_first() -> None:
    late = Demand("b", 5, waited_s=LATE_S)
    later = Demand("c", 5, waited_s=2 * LATE_S)
    assert assigned([holder(1, "a")], Demand("a", 9999), late, later) == {1: "c"}


def test_workers_are_spread_by_demand_and_stay_then() -> None:
    eight = [holder(worker, "a") for worker in range(8)]
    demands = Demand("a", 100_000), Demand("b", 300_000)
    found = assign(Affinity(tuple(eight), demands))
    held = [model for models in found.values() for model in models]
    # Moves end where a further one would not leave b with MARGIN times the work.
    a, b = held.count("a"), held.count("b")
    assert 300_000 / (b + 1) <= MARGIN * 100_000 / (a - 1)
    assert 300_000 / b > MARGIN * 100_000 / a
    moved = [holder(worker, models[0]) for worker, models in found.items()]
    assert assign(Affinity(tuple(moved), demands)) == found


def test_a_worker_of_several_models_exchanges_one_of_them() -> None:
    pair = holder(1, "ab")
    assert assigned([pair], Demand("a", 1000), Demand("c", 1)) == {1: "ab"}
    late = Demand("c", 1, waited_s=LATE_S)
    assert assigned([pair], Demand("a", 1000), late) == {1: "ca"}
    assert assigned([pair], Demand("c", 1), Demand("d", 2), Demand("e", 3)) == {1: "ed"}
    assert assigned([replace(pair, most=3)], Demand("c", 1)) == {1: "cab"}


def test_bulk_work_waits_for_ten_loads_and_five_minutes_at_least() -> None:
    assert [patience_s(load_s, interactive=False) for load_s in (1.0, 18.0, 60.0)] == [300.0, 300.0, 600.0]
    assert patience_s(20.0, interactive=True) == 40.0
