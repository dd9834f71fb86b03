"""The step engine: all samples in flight, one step at a time, in batches."""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

import torch

from latentfarm.errors import DeviceError, DeviceMemoryError, ModelError, RenderError
from latentfarm.states import Lane
from worker.engine.decode import finish
from worker.engine.faults import is_device, is_memory, of_one_sample
from worker.engine.forward import forward, shape_of
from worker.engine.group import choose, note_skipped
from worker.engine.limits import Limits
from worker.engine.order import Counters
from worker.engine.pace import Pace
from worker.engine.prepare import prepare
from worker.engine.roster import Roster
from worker.engine.step import advance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.engine.group import Group
    from worker.engine.model import LoadedModel
    from worker.engine.order import Listener, Order
    from worker.engine.sample import Sample

_log = logging.getLogger(__name__)

IDLE_S = 0.25
"""How long an idle render loop sleeps between two beats."""
CROWD = 8
"""Samples of one key in flight from which on full batches are expected, and counted apart."""


class StepEngine:
    """Renders orders on one device with three threads: one prepares, one steps, one decodes.

    Args:
        models: by the name that specs use.
        listener: hears of every order; called from the engine's threads.

    Attributes:
        broken: set once the device cannot be trusted any more, after the listener heard of every
            order that was in the engine; orders that still waited are given back by `stop`.
    """

    def __init__(self, models: Mapping[str, LoadedModel], listener: Listener) -> None:
        self.counters = Counters()
        self.broken: DeviceError | None = None
        self._models = dict(models)
        self._listener = listener
        self._limits = Limits(self._models)
        self._roster = Roster(2 * max((model.bucket for model in self._models.values()), default=1))
        self._done: queue.PriorityQueue[tuple[int, int, Sample | None]] = queue.PriorityQueue()
        self._stopping = threading.Event()
        self._breaking = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
            for name, work in {
                "engine-prepare": self._prepare_all,
                "engine-step": self._step_all,
                "engine-decode": self._decode_all,
            }.items()
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, order: Order) -> None:
        """Takes an order; returns at once."""
        self._roster.add(order)

    def drop(self, render_id: int) -> None:
        """Forgets a render: it takes no further step once the one that runs is done."""
        self._roster.drop(render_id)

    def in_flight(self, lane: Lane | None = None) -> int:
        """Orders taken and not yet handed to the listener, waiting ones too."""
        return self._roster.count(lane)

    def stop(self) -> list[Order]:
        """Stops at the next step boundary, decodes what has all its steps, gives back the rest."""
        self._stopping.set()
        self._roster.close()
        prepare_thread, step_thread, decode_thread = self._threads
        for thread in (prepare_thread, step_thread):
            thread.join()
        self._done.put((2, 0, None))  # sorts behind every sample
        decode_thread.join()
        return self._roster.clear()

    def _run(self, work: Callable[[], None]) -> None:
        """The body of each thread. An error that nobody expected must not leave a silent engine."""
        try:
            with torch.inference_mode():
                work()
        except Exception as error:  # noqa: BLE001 - a thread that dies unheard would stall the farm
            self._break(error)

    def _prepare_all(self) -> None:
        while (entry := self._roster.admit()) is not None:
            try:
                sample = prepare(entry.order, self._model_of(entry.order))
            except Exception as error:  # noqa: BLE001 - it went wrong for this order alone
                self._fail(entry.order, error)
            else:
                self._roster.activate(entry, sample)

    def _model_of(self, order: Order) -> LoadedModel:
        model = self._models.get(order.spec.model)
        if model is None:
            raise ModelError(f"model {order.spec.model} is not loaded here")
        return model

    def _step_all(self) -> None:
        pace = Pace(model.device for model in self._models.values())
        while not self._stopping.is_set() and self.broken is None:
            self.counters.beat += 1
            active = [sample for sample in self._roster.active(IDLE_S) if self._fits(sample)]
            if not active:
                continue
            started = time.perf_counter()
            self._turn(active)
            pace.keep()
            self.counters.busy_s += time.perf_counter() - started

    def _fits(self, sample: Sample) -> bool:
        if sample.reproducible and self._limits.narrowed(sample.key):
            self._fail(sample.order, DeviceMemoryError("the model's bucket is too large for this device"))
            return False
        return True

    def _turn(self, active: list[Sample]) -> None:
        group = choose(active, self._limits.of)
        note_skipped(active, group)
        try:
            noises = self._forward(group)
        except Exception as error:
            if not is_memory(error):
                raise
            self._out_of_memory(group, str(error))
            return
        self._count(group)
        for sample, noise in zip(group.samples, noises, strict=True):
            self._step(sample, noise)

    def _forward(self, group: Group) -> list[torch.Tensor]:
        rows = shape_of(group, group.samples[0].model.device)
        try:
            return forward(group, rows)
        except Exception as error:
            if not is_memory(error):
                raise
        # Only now, without the frames that the exception kept alive, memory can be given back.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return forward(group, rows)

    def _out_of_memory(self, group: Group, message: str) -> None:
        """Fails what cannot be made smaller, and makes the shape's next forward half as large."""
        _log.warning("out of memory with %d rows of %s: %s", group.rows, group.samples[0].key, message)
        alone = len(group.samples) == 1
        for sample in group.samples:
            if alone or sample.reproducible:
                self._fail(sample.order, DeviceMemoryError(message))
        if not alone:
            self._limits.halve(group)

    def _step(self, sample: Sample, noise: torch.Tensor) -> None:
        try:
            advance(sample, noise)
        except Exception as error:  # noqa: BLE001 - the samplers of others are none the worse
            self._fail(sample.order, error)
            return
        if self._roster.holds(sample.order):
            self._listener.stepped(sample.order, sample.index, sample.total)
        if sample.finished:
            self._roster.retire(sample)
            self._done.put((sample.order.lane is not Lane.INTERACTIVE, sample.arrival, sample))

    def _count(self, group: Group) -> None:
        could = max(group.limit, group.rows)
        self.counters.forwards += 1
        self.counters.rows += group.rows
        self.counters.bucket_rows += could
        self.counters.steps += len(group.samples)
        if group.pool >= CROWD:
            self.counters.full_rows += group.rows
            self.counters.full_bucket_rows += could

    def _decode_all(self) -> None:
        while (sample := self._done.get()[2]) is not None:
            if not self._roster.holds(sample.order):
                continue
            try:
                result = finish(sample)
            except Exception as error:  # noqa: BLE001 - one image's trouble, unless it is the device's
                self._fail(sample.order, error)
                continue
            if self._roster.settle(sample.order):
                self._listener.finished(sample.order, result)

    def _fail(self, order: Order, error: Exception) -> None:
        if is_device(error):
            raise error
        self._tell(order, of_one_sample(error))

    def _tell(self, order: Order, error: RenderError) -> None:
        if self._roster.settle(order):
            errors = self.counters.errors
            errors[error.error_class] = errors.get(error.error_class, 0) + 1
            self._listener.failed(order, error)

    def _break(self, error: Exception) -> None:
        """Ends everything that was in the engine; the process must go."""
        with self._breaking:
            _log.error("the engine is broken", exc_info=error)
            verdict = DeviceError(f"{type(error).__name__}: {error}")
            for order in self._roster.inside():
                self._tell(order, verdict)
            self.broken = self.broken or verdict
            self._roster.close()
