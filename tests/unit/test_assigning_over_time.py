"""What follows from one assignment after the other: loads, waits, and who was passed by; the clock is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from latentfarm.fairness import Affinity, Demand, Holder, assign
from latentfarm.fairness.assigning import HASTE, patience_s
from latentfarm.fairness.plan import HOLD

LOOK_S = 1


@dataclass(slots=True)
class Work:
    """Renders of one model: when each became due, those that nobody has begun."""

    due: list[int] = field(default_factory=list)
    interactive: bool = False
    last_held: int = -1
    passed_by: int = 0

    def waited(self, now: int) -> int:
        return now - max(self.due[0], self.last_held) if self.due else 0


@dataclass(slots=True)
class Device:
    """Holds one model at a time; renders `slots` at once, each for `cost_s`."""

    holds: str
    load_s: int
    slots: int
    cost_s: int
    ready_at: int = 0
    running: list[int] = field(default_factory=list)
    loads: int = 1

    def load(self, model: str, now: int) -> None:
        self.holds, self.ready_at = model, now + self.load_s
        self.loads += 1


@dataclass(slots=True)
class Farm:
    devices: list[Device]
    works: dict[str, Work]
    done: int = 0

    def second(self, now: int) -> None:
        for device in self.devices:
            self.done += sum(end == now for end in device.running)
            device.running = [end for end in device.running if end > now]
            work = self.works[device.holds]
            while device.ready_at <= now and len(device.running) < device.slots and work.due:
                work.passed_by = max(work.passed_by, work.waited(now))
                work.due.pop(0)
                device.running.append(now + device.cost_s)
            if device.ready_at <= now:
                work.last_held = now
        found = assign(self.view(now))
        for number, device in enumerate(self.devices):
            if found[number] != (device.holds,):
                # What runs is given back, and begins anew: the worst case, since there are checkpoints.
                work = self.works[device.holds]
                work.due = [now] * len(device.running) + work.due
                device.running = []
                device.load(found[number][0], now)

    def view(self, now: int) -> Affinity:
        holders = tuple(
            Holder(
                number,
                tuple(sorted(self.works)),
                (device.holds,),
                held_s=now - device.ready_at,
                load_s=device.load_s,
                slots=device.slots,
                running=len(device.running),
                settled=device.ready_at <= now,
            )
            for number, device in enumerate(self.devices)
        )
        demands = tuple(
            Demand(
                model,
                len(work.due),
                work.interactive,
                waited_s=work.waited(now),
                interactive_s=work.waited(now) if work.interactive else 0,
                cost_s=self.devices[0].cost_s / self.devices[0].slots,
            )
            for model, work in self.works.items()
        )
        return Affinity(holders, demands)

    @property
    def loads(self) -> int:
        return sum(device.loads for device in self.devices)

    def passed_by(self) -> int:
        return max(work.passed_by for work in self.works.values())


def bound_s(models: int, workers: int, load_s: int) -> float:
    """What the docstring of `assign` promises, and a look for each change."""
    turns = ceil(models / workers)
    late_s = patience_s(load_s, interactive=False)
    return late_s + turns * (HOLD + 1) * load_s + (turns + 1) * LOOK_S


def farm(workers: int, models: str, load_s: int, cost_s: int, slots: int = 8) -> Farm:
    devices = [
        Device(models[number % len(models)], load_s, slots, cost_s, ready_at=load_s)
        for number in range(workers)
    ]
    return Farm(devices, {model: Work() for model in models})


@pytest.mark.parametrize("load_s", [2, 20, 60])
@pytest.mark.parametrize("cost_s", [1, 4, 12])
def test_a_thousand_renders_of_four_models_on_two_workers(load_s: int, cost_s: int) -> None:
    """At most 3 times the least possible loads, which are 4, and nobody passed by beyond the bound."""
    made = farm(2, "abcd", load_s, cost_s)
    for number in range(1000):
        made.works["abcd"[number % 4]].due.append(0)
    now = 0
    while made.done < 1000:
        made.second(now)
        now += LOOK_S
        assert now < 10_000
    assert 4 <= made.loads <= 3 * 4
    assert made.passed_by() <= bound_s(4, 2, load_s)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 3),
    st.integers(2, 6),
    st.sampled_from([1, 5, 20]),
    st.sampled_from([1, 7]),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 5), st.integers(1, 20)), min_size=1, max_size=5),
)
# Renders that take longer than a worker keeps what it holds: it went to and fro, and ended none.
@example(1, 2, 1, 7, [(0, 0, 2), (0, 1, 2)])
def test_all_is_done_and_nobody_is_passed_by_beyond_the_bound(
    workers: int, models: int, load_s: int, cost_s: int, arrivals: list[tuple[int, int, int]]
) -> None:
    made = farm(workers, "abcdef"[:models], load_s, cost_s, slots=2)
    coming = sorted((at, number % models, count) for at, number, count in arrivals)
    wanted = sum(count for *_, count in coming)
    now = 0
    while made.done < wanted:
        while coming and coming[0][0] <= now:
            at, number, count = coming.pop(0)
            made.works["abcdef"[number]].due += [at] * count
        made.second(now)
        now += LOOK_S
        assert now < 5_000
    assert made.passed_by() <= bound_s(models, workers, load_s)


def test_interactive_work_of_a_model_that_nobody_holds_waits_for_two_loads_and_a_change() -> None:
    made = farm(1, "ab", load_s=10, cost_s=2)
    made.works["a"].due = [0] * 10_000
    made.works["b"].interactive = True
    for now in range(1000):
        if now % 200 == 100:
            made.works["b"].due.append(now)
        made.second(now)
    assert made.works["b"].due == []
    assert made.works["b"].passed_by <= (HASTE + HOLD + 2) * 10
    # There and back for each.
    assert made.loads == 1 + 2 * 5


def test_bulk_work_is_served_between_interactive_work_of_more_models_than_workers() -> None:
    made = farm(1, "abc", load_s=5, cost_s=1)
    for name in "bc":
        made.works[name].interactive = True
    made.works["a"].due = [0] * 1_000
    for now in range(1000):
        for name in "bc":
            made.works[name].due += [now] * 8  # more than can be done
        made.second(now)
    assert len(made.works["a"].due) < 1_000
    assert made.works["a"].passed_by <= bound_s(3, 1, 5)


def test_nothing_moves_while_demand_stays_as_it_is() -> None:
    made = farm(8, "abcd", load_s=5, cost_s=1)
    for now in range(400):
        for number, work in enumerate(made.works.values()):
            work.due = [max(0, now - 3)] * (100 * (number + 1))
        made.second(now)
        if now == 200:
            before = made.loads
    assert made.loads == before
    assert before <= 8 + 3
