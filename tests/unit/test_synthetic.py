"""The engine without a model shows in its picture every step that was taken, and goes on from checkpoints."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane, Stage
from tests.synthetic import SyntheticEngine, advance, begin, from_latents, to_latents, to_pixels
from worker.checkpoints import pack, unpack
from worker.engine.order import Checkpoint, Handover, Order, Picture

if TYPE_CHECKING:
    from latentfarm.errors import RenderError

WAIT_S = 30
SPEC = RenderSpec(prompt="x", width=64, height=64, num_inference_steps=12, model="tiny", seed=0)


class Ear:
    """A listener that remembers, and can be waited for."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.result: Handover | Picture | RenderError | None = None
        self.checkpoints: list[Checkpoint] = []
        self.steps: list[int] = []
        self.enough = threading.Event()
        self.ended = threading.Event()
        self._stop_after = stop_after

    def stepped(self, order: Order, done: int, total: int) -> None:
        self.steps.append(done)
        if done >= self._stop_after:
            self.enough.set()

    def checkpointed(self, order: Order, checkpoint: Checkpoint) -> None:
        self.checkpoints.append(checkpoint)

    def finished(self, order: Order, result: Handover | Picture) -> None:
        self.result = result
        self.ended.set()

    def failed(self, order: Order, error: RenderError) -> None:
        self.result = error
        self.ended.set()


def order_of(spec: RenderSpec = SPEC, seed: int = 5, stage: Stage = Stage.BASE) -> Order:
    return Order(1, 1, stage, spec, seed, Lane.BULK)


def run(order: Order) -> tuple[Handover | Picture, Ear]:
    ear = Ear()
    engine = SyntheticEngine(ear, checkpoint_s=1e-9)
    engine.start()
    engine.submit(order)
    assert ear.ended.wait(WAIT_S)
    engine.stop()
    assert isinstance(ear.result, Handover | Picture)
    return ear.result, ear


def pixels(order: Order) -> Any:
    result, _ = run(order)
    assert isinstance(result, Picture)
    return result.pixels


def test_the_picture_is_the_arithmetic_of_all_steps() -> None:
    value = begin(5, Stage.BASE)
    for step in range(1, 13):
        value = advance(value, 5, step)
    assert np.array_equal(pixels(order_of()), to_pixels(value))


@pytest.mark.parametrize("steps", [[1, 2, 4], [1, 2, 2, 3], [1, 3, 2], [1, 2]])
def test_a_step_left_out_taken_twice_or_too_early_shows(steps: list[int]) -> None:
    def after(taken: list[int]) -> Any:
        value = begin(5, Stage.BASE)
        for step in taken:
            value = advance(value, 5, step)
        return to_pixels(value)

    assert not np.array_equal(after(steps), after([1, 2, 3]))


def test_it_goes_on_from_any_checkpoint() -> None:
    whole, ear = run(order_of())
    assert isinstance(whole, Picture)
    assert [checkpoint.step for checkpoint in ear.checkpoints] == list(range(2, 12))
    for checkpoint in ear.checkpoints:
        kept = unpack(pack(checkpoint))
        rest, again = run(dataclasses.replace(order_of(), checkpoint=kept))
        assert isinstance(rest, Picture)
        assert np.array_equal(rest.pixels, whole.pixels)
        assert again.steps == list(range(checkpoint.step + 1, 13))


def test_another_renders_checkpoint_is_ignored() -> None:
    _, ear = run(order_of(seed=6))
    given = dataclasses.replace(order_of(), checkpoint=ear.checkpoints[3])
    assert np.array_equal(pixels(given), pixels(order_of()))


def test_stopped_it_gives_back_what_it_has() -> None:
    slow = SPEC.model_copy(update={"prompt": "sleep 2", "num_inference_steps": 10_000})
    ear = Ear(stop_after=5)
    engine = SyntheticEngine(ear)
    engine.start()
    engine.submit(order_of(slow))
    assert ear.enough.wait(WAIT_S)
    (left,) = engine.stop()
    assert left.checkpoint is not None
    assert left.checkpoint.step == ear.steps[-1]
    assert ear.checkpoints == [], "0 seconds: never on its own"


def test_the_refine_stage_shows_the_base() -> None:
    refined = SPEC.model_copy(update={"refiner": RefinerSpec()})
    made = set()
    for value in (begin(1, Stage.BASE), begin(2, Stage.BASE)):
        handover = Handover(to_latents(value), {})
        assert from_latents(handover.latents) == value
        made.add(
            pixels(dataclasses.replace(order_of(refined, stage=Stage.REFINE), handover=handover)).tobytes()
        )
    assert len(made) == 2
