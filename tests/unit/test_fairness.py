"""Whose turn it is: shares, starvation, caps, and what a decision costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.fairness import Credits, Standing, View, Waiting, decide
from latentfarm.fairness.deciding import RUNG_S
from latentfarm.fairness.limits import (
    LATENTS_MOST,
    PATIENCE_S,
    PILE,
    interactive_room,
    latents_room,
)
from latentfarm.fairness.settling import LIMIT_S, Account, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = "abcd"


def job(number: int, tenant: str = "a", queued: int = 10, **fields: object) -> Waiting:
    return Waiting(UUID(int=number), tenant, queued, **fields)  # type: ignore[arg-type]


def counts(view: View, renders: int, latents: int | None = None) -> dict[int, int]:
    return {take.job_id.int: take.count for take in decide(view, Credits(renders, latents))}


def by_tenant(view: View, renders: int) -> Counter[str]:
    owner = {waiting.job_id: waiting.tenant for waiting in view.jobs}
    found: Counter[str] = Counter()
    for take in decide(view, Credits(renders)):
        found[owner[take.job_id]] += take.count
    return found


@st.composite
def views(draw: st.DrawFn) -> View:
    tenants = {
        name: Standing(
            weight=draw(st.floats(0.1, 10)),
            deficit_s=draw(st.floats(-LIMIT_S, LIMIT_S)),
            in_flight=draw(st.integers(0, 40)),
            most=draw(st.none() | st.integers(0, 50)),
            paused=draw(st.booleans()),
        )
        for name in draw(st.sets(st.sampled_from(NAMES)))
    }
    jobs = [
        job(
            number,
            draw(st.sampled_from(NAMES)),
            draw(st.integers(1, 20)),
            priority=draw(st.integers(-10, 10)),
            waited_s=draw(st.floats(0, 3 * RUNG_S)),
            makes_latents=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 12)))
    ]
    return View(tuple(jobs), tenants, cost_s=draw(st.floats(0, 60)))


@given(views(), st.integers(0, 200), st.none() | st.integers(0, 60))
def test_all_limits_are_kept_and_no_credit_is_left_that_could_be_used(
    view: View, renders: int, latents: int | None
) -> None:
    found = counts(view, renders, latents)
    jobs = {waiting.job_id.int: waiting for waiting in view.jobs}
    taken: Counter[str] = Counter()
    for number, count in found.items():
        assert 1 <= count <= jobs[number].queued
        taken[jobs[number].tenant] += count
    assert sum(found.values()) <= renders
    heavy = sum(count for number, count in found.items() if jobs[number].makes_latents)
    assert latents is None or heavy <= latents
    for name, count in taken.items():
        standing = view.tenants.get(name, Standing())
        assert not standing.paused
        assert standing.most is None or standing.in_flight + count <= standing.most
    if sum(found.values()) == renders:
        return
    for number, waiting in jobs.items():  # each that got less than all had a reason
        standing = view.tenants.get(waiting.tenant, Standing())
        full = standing.most is not None and standing.in_flight + taken[waiting.tenant] >= standing.most
        stuck = waiting.makes_latents and latents is not None and heavy >= latents
        assert found.get(number, 0) == waiting.queued or standing.paused or full or stuck


@given(st.lists(st.floats(0.5, 8), min_size=2, max_size=4), st.integers(10, 300))
def test_tenants_share_by_weight(weights: list[float], renders: int) -> None:
    named = dict(zip(NAMES, weights, strict=False))
    view = View(
        tuple(job(number, name, 10_000) for number, name in enumerate(named)),
        {name: Standing(weight) for name, weight in named.items()},
    )
    found = by_tenant(view, renders)
    for name, weight in named.items():
        assert abs(found[name] - renders * weight / sum(weights)) <= len(named)


def test_who_is_owed_goes_first_until_it_is_paid() -> None:
    view = View((job(1, "a", 100), job(2, "b", 100)), {"b": Standing(deficit_s=8)}, cost_s=2)
    assert by_tenant(view, 4) == {"b": 4}
    assert by_tenant(view, 10) == {"a": 3, "b": 7}


def test_what_is_on_its_way_counts_as_had() -> None:
    view = View((job(1, "a", 100), job(2, "b", 100)), {"a": Standing(in_flight=24)})
    assert by_tenant(view, 24) == {"b": 24}
    assert by_tenant(view, 26) == {"a": 1, "b": 25}


def test_ten_thousand_jobs_of_one_tenant_weigh_no_more_than_one_of_another() -> None:
    view = View((*(job(number, "a", 1) for number in range(10_000)), job(10_001, "b", 50)))
    assert by_tenant(view, 20) == {"a": 10, "b": 10}


def test_jobs_of_a_tenant_take_turns_and_the_longest_unserved_begins() -> None:
    view = View((job(1, waited_s=0.1), job(2, waited_s=9), job(3, waited_s=5)))
    assert counts(view, 1) == {2: 1}
    assert counts(view, 2) == {2: 1, 3: 1}
    assert counts(view, 7) == {2: 3, 3: 2, 1: 2}


def test_a_higher_priority_goes_first_but_not_for_ever() -> None:
    low, high = job(1, priority=0), job(2, priority=3)
    assert counts(View((low, high)), 5) == {2: 5}
    assert counts(View((replace(low, waited_s=4 * RUNG_S), high)), 5) == {1: 5}


def test_a_priority_takes_nothing_from_another_tenant() -> None:
    assert by_tenant(View((job(1, "a", 50, priority=10), job(2, "b", 50))), 10) == {"a": 5, "b": 5}


def test_jobs_of_one_shape_stand_side_by_side() -> None:
    shapes = [(64, 64), (128, 64), (64, 64), (128, 64)]
    view = View(tuple(job(number, shape=shape) for number, shape in enumerate(shapes)))
    assert [shapes[take.job_id.int] for take in decide(view, Credits(8))] == [(64, 64)] * 2 + [(128, 64)] * 2


def test_nothing_that_makes_latents_is_taken_while_they_pile_up() -> None:
    view = View((job(1, makes_latents=True), job(2)))
    assert counts(view, 8, latents=0) == {2: 8}
    assert counts(view, 8, latents=2) == {1: 2, 2: 6}


def test_the_number_of_queued_renders_changes_neither_the_answer_nor_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import heapq

    from latentfarm.fairness import deciding

    def work(queued: int) -> tuple[dict[int, int], int]:
        done = 0

        def pop(heap: list[Any]) -> Any:
            nonlocal done
            done += 1
            return heapq.heappop(heap)

        class Counting:
            heappop = staticmethod(pop)
            heappush = staticmethod(heapq.heappush)
            heapify = staticmethod(heapq.heapify)

        monkeypatch.setattr(deciding, "heapq", Counting)
        view = View(tuple(job(number, NAMES[number % 4], queued) for number in range(8)))
        return counts(view, 64), done

    assert work(1_000) == work(1_000_000)


class Farm:
    """Serves `slots` renders at a time, each for as long as its tenant's renders take; charges every second."""

    def __init__(self, queued: dict[str, int], cost: dict[str, int], weights: dict[str, float]) -> None:
        self.queued, self.cost, self.weights = queued, cost, weights
        self.window: list[str] = []
        self.running: list[tuple[int, str]] = []
        self.deficit = dict.fromkeys(queued, 0.0)
        self.used = dict.fromkeys(queued, 0.0)

    def second(self, now: int, slots: int, window: int) -> None:
        self.running = [(end, name) for end, name in self.running if end > now]
        self.dispatch(window)
        while len(self.running) < slots and self.window:
            name = self.window.pop(0)
            self.running.append((now + self.cost[name], name))
            self.dispatch(window)
        charged = Counter(name for _, name in self.running)
        held = Counter(self.window) + charged
        accounts = [
            Account(name, self.weights.get(name, 1.0), self.deficit[name], left > 0, held[name] > 0)
            for name, left in self.queued.items()
        ]
        self.deficit = settle(accounts, {name: float(count) for name, count in charged.items()})
        for name, count in charged.items():
            self.used[name] += count

    def dispatch(self, window: int) -> None:
        held = Counter(self.window) + Counter(name for _, name in self.running)
        jobs = [job(ord(name), name, left) for name, left in self.queued.items() if left]
        standings = {
            name: Standing(
                self.weights.get(name, 1.0), self.deficit[name], held[name], cost_s=self.cost[name]
            )
            for name in self.queued
        }
        for take in decide(View(tuple(jobs), standings), Credits(window - len(self.window))):
            name = chr(take.job_id.int)
            self.queued[name] -= take.count
            self.window += [name] * take.count


@pytest.mark.parametrize("cost", [{"a": 3, "b": 3}, {"a": 12, "b": 2}, {"a": 2, "b": 12}])
def test_one_who_comes_late_has_as_many_gpu_seconds_from_then_on(cost: dict[str, int]) -> None:
    farm = Farm({"a": 100_000, "b": 0}, cost, {})
    for now in range(200):
        farm.second(now, slots=16, window=48)
    farm.queued["b"] = 1_000
    before = dict(farm.used)
    now = 200
    while farm.queued["b"]:
        farm.second(now, slots=16, window=48)
        now += 1
    had = {name: farm.used[name] - before[name] for name in farm.used}
    assert had["a"] == pytest.approx(had["b"], rel=0.1)


def test_weights_are_kept_over_time() -> None:
    farm = Farm({"a": 100_000, "b": 100_000}, {"a": 4, "b": 1}, {"a": 3.0, "b": 1.0})
    for now in range(2_000):
        farm.second(now, slots=8, window=24)
    assert farm.used["a"] / farm.used["b"] == pytest.approx(3, rel=0.05)


@given(
    st.lists(st.tuples(st.floats(0.1, 9), st.floats(-LIMIT_S, LIMIT_S)), min_size=2, max_size=4),
    st.lists(st.floats(0, 10), min_size=4, max_size=4),
)
def test_what_one_is_owed_another_had(given: list[tuple[float, float]], had: Sequence[float]) -> None:
    accounts = [
        Account(name, w, d / 100, wants=True, holds=True) for name, (w, d) in zip(NAMES, given, strict=False)
    ]
    found = settle(accounts, dict(zip(NAMES, had, strict=True)) if len(given) == 4 else {"a": had[0]})
    assert sum(found.values()) == pytest.approx(sum(one.deficit_s for one in accounts), abs=1e-6)


def test_who_wants_no_more_than_its_part_owes_nothing_and_takes_nothing_away() -> None:
    small = Account("a", 1.0, 0.0, wants=False, holds=True)
    big = Account("b", 1.0, 0.0, wants=True, holds=True)
    assert settle([small, big], {"a": 10.0, "b": 90.0}) == {"a": 0.0, "b": 0.0}


def test_idle_time_is_no_credit_and_a_debt_is_forgiven_with_the_last_render() -> None:
    def after(deficit: float, *, holds: bool) -> float:
        return settle([Account("a", 1.0, deficit, wants=False, holds=holds)], {})["a"]

    assert after(50.0, holds=True) == 0.0
    assert after(-50.0, holds=True) == -50.0
    assert after(-50.0, holds=False) == 0.0


def test_the_refiner_goes_first_while_latents_pile_up() -> None:
    assert latents_room(0, window=24, refiners=1) == PILE * 24
    assert latents_room(PILE * 24, window=24, refiners=1) == 0
    assert latents_room(100, window=24, refiners=0) == LATENTS_MOST - 100
    assert latents_room(LATENTS_MOST, window=10**6, refiners=50) == 0


def test_interactive_work_uses_all_it_wants_until_bulk_has_waited_for_long() -> None:
    at = {"in_flight": 10, "capacity": 24, "workers": 2}
    assert interactive_room(48, **at, bulk_owed_s=PATIENCE_S) == 48
    assert interactive_room(48, **at, bulk_owed_s=2 * PATIENCE_S + 1) == 21 - 10
    assert interactive_room(48, in_flight=30, capacity=24, workers=2, bulk_owed_s=LIMIT_S) == 0
    assert interactive_room(48, in_flight=0, capacity=0, workers=0, bulk_owed_s=LIMIT_S) == 48
