"""An engine that does no work and objects that do not exist: what is left is the control plane.

No image file is made and nothing is put. Claims, hand-overs, commits, messages and all processes are the real ones. IDLE_STEP_S in the environment
makes each step take that long, as on a device that is busy, for IDLE_BATCH samples together: interactive ones, then those that came first.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from latentfarm.records import ObjectRef
from latentfarm.states import Lane, Stage
from latentfarm.storage import S3Store
from worker import images
from worker.assembly import Assembled
from worker.engine.order import Counters, Handover, Listener, Order, Picture, Unfinished
from worker.latents import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry

PIXELS: Any = np.zeros((8, 8, 3), dtype=np.uint8)
LATENTS: Any = np.zeros((1, 4, 8, 8), dtype=np.float32)


def load(
    _entries: Sequence[ModelEntry], _stages: Sequence[Stage], *, listener: Listener, **_: Any
) -> Assembled:
    """What the setting `engine` names. The bucket of this process keeps nothing from now on."""
    keep_nothing()
    return Assembled(
        IdleEngine(
            listener,
            float(os.environ.get("IDLE_STEP_S", "0")),
            int(os.environ.get("IDLE_BATCH", "0")) or None,
        ),
        {"device_name": "idle"},
        framework="np",
    )


def keep_nothing() -> None:
    """No request leaves the process: no image becomes a file, nothing is put, and all latents are the same."""

    def put(_store: S3Store, key: str, data: bytes, _content_type: str) -> ObjectRef:
        return ObjectRef(key, hashlib.sha256(data).digest(), len(data))

    latents = pack(_handover())
    images.encode = lambda *_: b""
    store: Any = S3Store
    store.put, store.get = put, lambda _store, _ref: latents


def _handover() -> Handover:
    return Handover(LATENTS, {"idle": "1"})


class IdleEngine:
    """Takes orders and lets them go again. In each turn up to `batch` samples take one step; None: all of them."""

    def __init__(self, listener: Listener, step_s: float, batch: int | None = None) -> None:
        self.counters = Counters()
        self.broken: BaseException | None = None
        self._listener = listener
        self._step_s = step_s
        self._batch = batch
        self._samples: dict[int, tuple[Order, int]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """See `Engine.start`."""
        self._thread.start()

    def submit(self, order: Order) -> None:
        """See `Engine.submit`."""
        with self._changed:
            self._samples[order.render_id] = (order, 0)
            self._changed.notify()

    def drop(self, render_id: int) -> None:
        """See `Engine.drop`."""
        with self._changed:
            self._samples.pop(render_id, None)

    def in_flight(self, lane: Lane | None = None) -> int:
        """See `Engine.in_flight`."""
        with self._changed:
            return sum(lane in (None, order.lane) for order, _ in self._samples.values())

    def stop(self) -> list[Unfinished]:
        """See `Engine.stop`."""
        self._stopping = True
        self._thread.join()
        return [Unfinished(order) for order, _ in self._samples.values()]

    def _run(self) -> None:
        while not self._stopping:
            self.counters.beat += 1
            with self._changed:
                if not self._samples:
                    self._changed.wait(0.05)
                waiting = sorted(self._samples.values(), key=lambda one: one[0].lane is not Lane.INTERACTIVE)
                taken = waiting[: self._batch]
            if taken:
                self._turn(taken)

    def _turn(self, taken: list[tuple[Order, int]]) -> None:
        """One step of each; without a time for it, all that a sample has to take."""
        if self._step_s:
            time.sleep(self._step_s)
        self.counters.forwards += 1
        for order, before in taken:
            total = order.spec.num_inference_steps
            done = before + 1 if self._step_s else total
            with self._changed:
                if order.render_id not in self._samples:
                    continue
                self._samples[order.render_id] = (order, done)
                if done >= total:
                    del self._samples[order.render_id]
            self.counters.steps += 1
            self._listener.stepped(order, done, total)
            if done >= total:
                self._listener.finished(order, self.result(order))

    def result(self, order: Order) -> Handover | Picture:
        """What an order ends in."""
        if order.stage is Stage.BASE and order.spec.refiner is not None:
            return _handover()
        return Picture(PIXELS, {"device": "idle"})
