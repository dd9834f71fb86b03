"""How long a step may take, and who is told when the device breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from worker.engine.order import Counters
from worker.heartbeat import Heartbeat
from worker.pulse import SLOW, WINDOW, Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentfarm.states import Lane
    from worker.engine.order import Order, Unfinished

LEAST_S = 15.0


@dataclass
class Engine:
    """Counters that a test sets."""

    counters: Counters = field(default_factory=Counters)
    broken: BaseException | None = None

    def start(self) -> None: ...

    def submit(self, order: Order) -> None: ...

    def drop(self, render_id: int) -> None: ...

    def in_flight(self, lane: Lane | None = None) -> int:
        return 0

    def stop(self) -> list[Unfinished]:
        return []

    def forward(self, seconds: float, count: int = 1) -> None:
        self.counters.forwards += count
        self.counters.busy_s += seconds * count
        self.counters.beat += count


@pytest.fixture
def heartbeat(tmp_path: Path) -> Iterator[Heartbeat]:
    with Heartbeat(tmp_path / "beat", create=True) as heartbeat:
        yield heartbeat


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def pulse(engine: Engine, heartbeat: Heartbeat) -> Pulse:
    return Pulse(engine, heartbeat, least_s=LEAST_S, broken=lambda: None)


def test_without_a_step_the_least_limit_holds(pulse: Pulse) -> None:
    assert pulse.limit_s() == LEAST_S


def test_quick_steps_do_not_lower_the_limit(engine: Engine, pulse: Pulse) -> None:
    engine.forward(0.01)
    assert pulse.limit_s() == LEAST_S


def test_slow_steps_raise_it_to_a_multiple_of_their_median(engine: Engine, pulse: Pulse) -> None:
    for seconds in (6.0, 10.0, 100.0):
        engine.forward(seconds)
        limit_s = pulse.limit_s()
    assert limit_s == pytest.approx(SLOW * 10.0)


def test_several_forwards_between_two_looks_count_by_their_mean(engine: Engine, pulse: Pulse) -> None:
    engine.forward(4.0, count=5)
    assert pulse.limit_s() == pytest.approx(SLOW * 4.0)


def test_a_limit_that_was_high_falls_again(engine: Engine, pulse: Pulse) -> None:
    engine.forward(100.0)
    assert pulse.limit_s() == SLOW * 100.0
    for _ in range(WINDOW):
        engine.forward(0.1)
        limit_s = pulse.limit_s()
    assert limit_s == LEAST_S


def test_looking_twice_at_the_same_step_counts_it_once(engine: Engine, pulse: Pulse) -> None:
    engine.forward(100.0)
    pulse.limit_s()
    engine.forward(1.0)
    assert [pulse.limit_s(), pulse.limit_s()] == [pytest.approx(SLOW * 50.5)] * 2


def test_a_broken_device_is_told_once_and_ends_the_pulse(engine: Engine, heartbeat: Heartbeat) -> None:
    told: list[str] = []
    engine.broken = RuntimeError("context lost")
    engine.forward(1.0, count=41)
    pulse = Pulse(engine, heartbeat, least_s=LEAST_S, broken=lambda: told.append("broken"))
    pulse.start()
    pulse.join(10)
    assert not pulse.is_alive()
    assert told == ["broken"]
    assert heartbeat.read() == (42, LEAST_S)


def test_a_stopped_pulse_ends(pulse: Pulse) -> None:
    pulse.start()
    pulse.stop()
    pulse.join(10)
    assert not pulse.is_alive()
