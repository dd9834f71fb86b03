"""The step engine: all samples in flight, one step at a time, in batches."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

import torch

from latentfarm.errors import ModelError
from worker.engine.checkpoint import snapshot
from worker.engine.company import TOGETHER, read_together
from worker.engine.decodable import Decodable
from worker.engine.decode import decode_together, finish
from worker.engine.desk import Desk
from worker.engine.faults import is_device
from worker.engine.order import Counters, Unfinished
from worker.engine.prepare import prepare
from worker.engine.preview import Glimpse, Glimpses
from worker.engine.roster import Roster
from worker.engine.stepper import Stepper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latentfarm.errors import DeviceError
    from latentfarm.states import Lane
    from worker.engine.model import LoadedModel
    from worker.engine.order import Checkpoint, Listener, Order
    from worker.engine.preview import Viewer
    from worker.engine.sample import Sample

_log = logging.getLogger(__name__)

SWITCH_S = 1e-4
"""Seconds after which a thread that computes in Python lets another have the interpreter.

The render thread gives it up at each of thousands of operations. With Python's 5 ms, whoever takes it then may keep
it for longer than many operations take: a thread that is busy for a tenth of the time made a forward on a CPU a
quarter slower, and with this a few percent (docs/why.md).
"""


class StepEngine:
    """Renders orders on one device with three threads: one prepares, one steps, one decodes.

    Args:
        models: by the name that specs use.
        listener: hears of every order; called from the engine's threads.
        checkpoint_s: seconds between two checkpoints of a sample; 0: none.
        viewer: may want to see images before they are done.

    Attributes:
        broken: set once the device cannot be trusted any more, after the listener heard of every
            order that was let in; orders that still waited are given back by `stop`.
    """

    def __init__(
        self,
        models: Mapping[str, LoadedModel],
        listener: Listener,
        checkpoint_s: float = 0.0,
        viewer: Viewer | None = None,
    ) -> None:
        self.counters = Counters()
        self.broken: DeviceError | None = None
        self._models = dict(models)
        # Two full forwards' worth of single rows: the next group is always ready.
        self._roster = Roster(room=2 * max((model.bucket for model in models.values()), default=1))
        self._desk = Desk(self._roster, listener, self.counters)
        self._decodable = Decodable()
        self._glimpses = Glimpses(viewer, self._decodable.offer)
        parts = self._models, self._roster, self._desk, self.counters
        self._stepper = Stepper(*parts, self._decodable.put, self._glimpses.catch, checkpoint_s)
        self._stopping = threading.Event()
        self._breaking = threading.Lock()
        works = (self._prepare_all, self._step_all, self._decode_all)
        self._preparer, self._renderer, self._decoder = (
            threading.Thread(target=self._guard, args=(work,), name=f"engine{work.__name__}", daemon=True)
            for work in works
        )

    def start(self) -> None:
        """Starts the threads; sets how soon the threads of this process give the interpreter up."""
        sys.setswitchinterval(SWITCH_S)
        for thread in (self._preparer, self._renderer, self._decoder):
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

    def stop(self) -> list[Unfinished]:
        """Stops at the next step boundary, decodes what has all its steps, gives back the rest."""
        self._stopping.set()
        self._roster.close()
        if self._decoder.is_alive() or self._renderer.is_alive():
            self._preparer.join()
            self._renderer.join()
            self._decodable.close()
            self._decoder.join()
        return [Unfinished(entry.order, _state_of(entry.sample)) for entry in self._roster.clear()]

    def _guard(self, work: Callable[[], None]) -> None:
        """The body of each thread. An error that nobody expected must not leave a silent engine."""
        try:
            with torch.inference_mode():  # per thread: a fresh one would record gradients
                work()
        except Exception as error:  # noqa: BLE001 - whatever it was, the parent must hear of it
            _log.exception("the engine is broken")
            with self._breaking:
                verdict = self._desk.all_failed(error)
                self.broken = self.broken or verdict
            self._stopping.set()
            self._roster.close()

    def _prepare_all(self) -> None:
        while (entry := self._roster.admit()) is not None:
            try:
                model = self._model_of(entry.order)
                read_together(model, self._roster.mates(entry, TOGETHER))
                sample = prepare(entry.order, model)
            except Exception as error:  # noqa: BLE001 - it went wrong for this order alone
                self._desk.failed(entry.order, error)
            else:
                self._roster.activate(entry, sample)

    def _model_of(self, order: Order) -> LoadedModel:
        model = self._models.get(order.spec.model)
        if model is None:
            raise ModelError(f"model {order.spec.model} is not loaded here")
        return model

    def _step_all(self) -> None:
        self._stepper.run(self._stopping)

    def _decode_all(self) -> None:
        while taken := self._decodable.take():
            if isinstance(taken, Glimpse):
                if self._roster.holds(taken.sample.order):
                    self._glimpses.show(taken)
                continue
            samples = [sample for sample in taken if self._roster.holds(sample.order)]
            for sample, image in zip(samples, _images(samples), strict=True):
                self._finish(sample, image)

    def _finish(self, sample: Sample, image: torch.Tensor | None) -> None:
        try:
            result = finish(sample, image)
        except Exception as error:  # noqa: BLE001 - one image's trouble, unless it is the device's
            self._desk.failed(sample.order, error)
        else:
            self._desk.finished(sample.order, result)


def _images(samples: Sequence[Sample]) -> Sequence[torch.Tensor | None]:
    """What the VAE makes of several samples at once; None for each that is to be decoded by itself."""
    if len(samples) > 1:
        try:
            return decode_together(samples)
        except Exception as error:
            if is_device(error):
                raise
            _log.warning("%d images are decoded one by one: %r", len(samples), error)
    return [None] * len(samples)


def _state_of(sample: Sample | None) -> Checkpoint | None:
    """Of a sample that no thread works on any more; None when a fresh start would lose nothing."""
    return None if sample is None or sample.index == 0 else snapshot(sample)
