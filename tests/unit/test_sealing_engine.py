"""The engine that packs: one shard at a time, given up between two images, and never told of twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from latentfarm.errors import ErrorClass, LatentsError
from latentfarm.states import Stage
from tests.conftest import ROOT
from worker.engine.order import Errand
from worker.sealing.engine import SealEngine
from worker.sealing.shift import Abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.errors import RenderError
    from latentfarm.redraws import Redraw
    from latentfarm.repository.sealing import Packed
    from worker.sealing.shift import Shift

PATIENCE_S = 20.0
FIRST, SECOND = Errand(1, 1, Stage.SEAL), Errand(2, 1, Stage.SEAL)
DONE = cast("Packed", object())


class Recorder:
    """A listener."""

    def __init__(self) -> None:
        self.told: list[tuple[int, object]] = []
        self.changed = threading.Condition()

    def packed(self, errand: Errand, packed: Packed | Redraw, then: Callable[[], object]) -> None:
        self._note(errand, packed)
        then()

    def failed(self, errand: Errand, error: RenderError) -> None:
        self._note(errand, error)

    def _note(self, errand: Errand, what: object) -> None:
        with self.changed:
            self.told.append((errand.render_id, what))
            self.changed.notify_all()

    def wait(self, count: int) -> list[tuple[int, object]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.told) >= count, PATIENCE_S)
            return list(self.told)


class Clearing:
    """Counts how often it is woken."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def wake(self) -> None:
        self.calls.append("wake")

    def stop(self) -> None:
        self.calls.append("stop")


class Bench:
    """An engine whose packer goes on image after image until it is told to end."""

    def __init__(self) -> None:
        self.recorder, self.clearing = Recorder(), Clearing()
        self.begun: dict[int, threading.Event] = {1: threading.Event(), 2: threading.Event()}
        self.over: dict[int, threading.Event] = {1: threading.Event(), 2: threading.Event()}
        self.result: Any = DONE
        self.at_once = 0
        self.most_at_once = 0
        self.engine = SealEngine(self.pack, self.recorder, cast("Any", self.clearing))
        self.engine.start()

    def pack(self, errand: Errand, shift: Shift) -> Packed | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun[errand.render_id].set()
        try:
            while not self.over[errand.render_id].wait(0.005):
                shift.go_on()
        finally:
            self.at_once -= 1
        if isinstance(self.result, BaseException):
            raise self.result
        return cast("Packed | None", self.result)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.engine.stop()


def test_shards_are_packed_one_after_the_other(bench: Bench) -> None:
    for errand in (FIRST, SECOND):
        bench.engine.submit(errand)
    assert bench.begun[1].wait(PATIENCE_S)
    assert bench.engine.in_flight() == 2
    for over in bench.over.values():
        over.set()
    assert bench.recorder.wait(2) == [(1, DONE), (2, DONE)]
    assert bench.most_at_once == 1
    assert bench.engine.in_flight() == 0
    assert bench.clearing.calls == ["start", "wake", "wake"]


def test_the_parent_sees_it_live_while_it_packs_and_while_it_waits(bench: Bench) -> None:
    bench.engine.submit(FIRST)
    assert bench.begun[1].wait(PATIENCE_S)
    seen = bench.engine.counters.beat
    bench.over[2].wait(0.1)
    assert bench.engine.counters.beat > seen


def test_what_is_dropped_ends_between_two_images_and_is_not_told_of(bench: Bench) -> None:
    bench.engine.submit(FIRST)
    assert bench.begun[1].wait(PATIENCE_S)
    bench.engine.drop(1)
    bench.over[2].set()
    bench.engine.submit(SECOND)
    assert bench.recorder.wait(1) == [(2, DONE)]


def test_a_later_claim_of_a_dropped_shard_is_packed_anew(bench: Bench) -> None:
    bench.engine.submit(FIRST)
    assert bench.begun[1].wait(PATIENCE_S)
    bench.engine.drop(1)
    bench.engine.submit(Errand(1, 3, Stage.SEAL))
    bench.over[1].set()
    assert bench.recorder.wait(1) == [(1, DONE)]
    assert bench.engine.in_flight() == 0


def test_a_stop_gives_back_what_is_begun_and_what_waits(bench: Bench) -> None:
    for errand in (FIRST, SECOND):
        bench.engine.submit(errand)
    assert bench.begun[1].wait(PATIENCE_S)
    assert [left.order for left in bench.engine.stop()] == [FIRST, SECOND]
    assert (bench.recorder.told, bench.at_once) == ([], 0)
    assert bench.clearing.calls == ["start", "stop"]


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (LatentsError("an image is gone"), ErrorClass.LATENTS),
        (OperationalError("SELECT", {}, Exception("away")), ErrorClass.TRANSIENT),
        (OSError(28, "No space left on device"), ErrorClass.TRANSIENT),
        (ValueError("never thought of"), ErrorClass.DEFECT),
    ],
)
def test_whose_fault_it_is_called(bench: Bench, error: Exception, error_class: ErrorClass) -> None:
    bench.result = error
    bench.over[1].set()
    bench.engine.submit(FIRST)
    ((render, told),) = bench.recorder.wait(1)
    assert (render, cast("RenderError", told).error_class) == (1, error_class)


@pytest.mark.parametrize("result", [None, Abandoned()])
def test_a_claim_that_was_lost_is_not_told_of(bench: Bench, result: object) -> None:
    bench.result = result
    bench.over[1].set()
    bench.engine.submit(FIRST)
    bench.engine.submit(SECOND)
    bench.result = None
    assert bench.begun[2].wait(PATIENCE_S)
    assert bench.recorder.told == []


def test_a_child_that_packs_loads_no_machine_learning() -> None:
    code = (
        "import sys, worker.child, worker.sealing.assembly, worker.sealing.intake;"
        "print(sorted({'torch', 'diffusers', 'transformers', 'accelerate', 'fastapi'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
