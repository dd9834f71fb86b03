"""An engine without a model and without torch: seeded arithmetic in the real child, for tests that are not about
pictures.

Same claims, checkpoints, hand-over, uploads and commits as with the real one. The state of a sample is one
number of 64 bits that every step changes by the seed and the step's own number, and the picture shows it: a
step that is left out or taken twice changes the bytes. What it does with a prompt:

    sleep MS      each step takes so many milliseconds (default 1), however many samples take it together
    row MS        each step takes so many milliseconds more for each sample, as where one fills a device
    die           the process kills itself at the second step
    hang          the render loop stops for ever
    deaf          the child's Celery stops reading for ever, and all else goes on
    nan           ends in NonFiniteError
    oom           ends in DeviceMemoryError
    sticky        breaks the device at the second step: all that is in the engine fails, and the child must exit

SYNTHETIC_BAD in the environment makes a bad device of it, whatever the prompt: `nan`, or `device`, which fails
all that is in the engine and breaks it.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kombu.asynchronous
import numpy as np

from latentfarm.errors import DeviceError, DeviceMemoryError, NonFiniteError, RenderError
from latentfarm.states import Lane, Stage
from worker.assembly import Assembled
from worker.engine.order import Checkpoint, Counters, Handover, Listener, Order, Picture, Unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry

_BITS = 64
_LIMBS = 4
"""The number goes to the refine stage as four numbers that float32 holds exactly."""


def load(
    entries: Sequence[ModelEntry],
    stages: Sequence[Stage],
    *,
    device: str,
    threads: int,
    checkpoint_s: float,
    listener: Listener,
) -> Assembled:
    """What the setting `engine` names."""
    return Assembled(SyntheticEngine(listener, checkpoint_s), {"device_name": "synthetic"}, framework="np")


def begin(seed: int, stage: Stage, handed_over: int | None = None) -> int:
    """The number before the first step of a stage."""
    return _mix(f"begin {seed} {stage.label} {handed_over}")


def advance(value: int, seed: int, step: int) -> int:
    """The number after a step; the first step is 1."""
    return _mix(f"{value} {seed} {step}")


def _mix(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BITS // 8).digest())


def to_latents(value: int) -> Any:
    """`[1, 4, 8, 8]`, float32, one limb of 16 bits in each channel."""
    limbs = np.array([value >> (16 * limb) & 0xFFFF for limb in range(_LIMBS)], dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(limbs.reshape(1, _LIMBS, 1, 1), (1, _LIMBS, 8, 8)))


def from_latents(latents: Any) -> int:
    """What `to_latents` was given."""
    return sum(int(limb) << (16 * index) for index, limb in enumerate(latents[0, :, 0, 0].tolist()))


def to_pixels(value: int) -> Any:
    """`[8, 8, 3]`, uint8, other ones for each number."""
    digest = b"".join(hashlib.sha256(f"{value} {part}".encode()).digest() for part in range(6))
    return np.frombuffer(digest, dtype=np.uint8).reshape(8, 8, 3)


@dataclass(slots=True)
class _Sample:
    """An order and how far it is. `saved_at`: its last checkpoint, or its first step, in monotonic seconds."""

    order: Order
    value: int
    done: int = 0
    saved_at: float | None = None

    @property
    def total(self) -> int:
        return self.order.spec.num_inference_steps

    def header(self) -> dict[str, str]:
        order = self.order
        base = None if order.handover is None else from_latents(order.handover.latents)
        return {"synthetic": f"{order.seed} {order.stage.label} {self.total} {base}"}

    def checkpoint(self) -> Checkpoint | None:
        return Checkpoint(self.done, {"value": self.value}, self.header()) if self.done else None


def _sample(order: Order) -> _Sample:
    base = None if order.handover is None else from_latents(order.handover.latents)
    fresh = _Sample(order, begin(order.seed, order.stage, base))
    kept = order.checkpoint
    if kept is not None and kept.header == fresh.header():
        fresh.value, fresh.done = kept.state["value"], kept.step
    return fresh


class SyntheticEngine:
    """Steps every order that it has, all in one thread."""

    def __init__(self, listener: Listener, checkpoint_s: float = 0.0) -> None:
        self.counters = Counters()
        self.broken: BaseException | None = None
        self._listener = listener
        self._checkpoint_s = checkpoint_s
        self._samples: dict[int, _Sample] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, order: Order) -> None:
        sample = _sample(order)
        with self._changed:
            self._samples[order.render_id] = sample
            self._changed.notify()

    def drop(self, render_id: int) -> None:
        with self._changed:
            self._samples.pop(render_id, None)

    def in_flight(self, lane: Lane | None = None) -> int:
        with self._changed:
            return sum(lane in (None, sample.order.lane) for sample in self._samples.values())

    def stop(self) -> list[Unfinished]:
        self._stopping = True
        if self._thread.is_alive():
            self._thread.join()
        return [Unfinished(sample.order, sample.checkpoint()) for sample in self._samples.values()]

    def _run(self) -> None:
        while not self._stopping:
            self.counters.beat += 1
            with self._changed:
                if not self._samples:
                    self._changed.wait(0.05)
                samples = list(self._samples.values())
            if samples:
                self._turn(samples)

    def _turn(self, samples: list[_Sample]) -> None:
        started = time.perf_counter()
        time.sleep(_turn_s([sample.order.spec.prompt for sample in samples]))
        self.counters.forwards += 1
        self.counters.rows += len(samples)
        self.counters.bucket_rows += len(samples)
        for sample in samples:
            self._step(sample)
        self.counters.busy_s += time.perf_counter() - started

    def _step(self, sample: _Sample) -> None:
        order = sample.order
        with self._changed:
            if self._samples.get(order.render_id) is not sample:
                return
        sample.done += 1
        sample.value = advance(sample.value, order.seed, sample.done)
        if sample.done == 2:
            _misbehave(order.spec.prompt)
            if "sticky" in order.spec.prompt or os.environ.get("SYNTHETIC_BAD") == "device":
                self._break()
                return
        self._listener.stepped(order, sample.done, sample.total)
        self.counters.steps += 1
        if sample.done >= sample.total:
            self._end(sample)
        else:
            self._maybe_save(sample, time.monotonic())

    def _maybe_save(self, sample: _Sample, now: float) -> None:
        if sample.saved_at is None:
            sample.saved_at = now
        checkpoint = sample.checkpoint()
        if self._checkpoint_s and now - sample.saved_at >= self._checkpoint_s and checkpoint is not None:
            sample.saved_at = now
            self._listener.checkpointed(sample.order, checkpoint)

    def _break(self) -> None:
        error = DeviceError("CUDA error: device-side assert triggered")
        with self._changed:
            orders = [sample.order for sample in self._samples.values()]
            self._samples.clear()
        for order in orders:
            self._listener.failed(order, error)
        self.broken, self._stopping = error, True

    def _end(self, sample: _Sample) -> None:
        order = sample.order
        with self._changed:
            self._samples.pop(order.render_id, None)
        failure = _failure(order.spec.prompt)
        if failure is not None:
            self._listener.failed(order, failure)
        elif order.stage is Stage.BASE and order.spec.refiner is not None:
            self._listener.finished(order, Handover(to_latents(sample.value), {"synthetic": "1"}))
        else:
            self._listener.finished(order, Picture(to_pixels(sample.value), {"device": "synthetic"}))


def _turn_s(prompts: Sequence[str]) -> float:
    together = max(_told_ms(prompt, "sleep", 1) for prompt in prompts)
    return (together + sum(_told_ms(prompt, "row", 0) for prompt in prompts)) / 1000


def _told_ms(prompt: str, word: str, usual: int) -> int:
    found = re.search(rf"\b{word} (\d+)", prompt)
    return int(found.group(1)) if found else usual


def _failure(prompt: str) -> RenderError | None:
    if "nan" in prompt or os.environ.get("SYNTHETIC_BAD") == "nan":
        return NonFiniteError("not a number")
    return DeviceMemoryError("out of memory") if "oom" in prompt else None


def _misbehave(prompt: str) -> None:
    if "die" in prompt:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in prompt:
        time.sleep(10_000)
    if "deaf" in prompt:
        # What sends each BRPOP is called from here, so the loop turns on and asks for nothing more.
        loop = kombu.asynchronous.get_event_loop()
        assert loop is not None
        loop.on_tick.clear()
