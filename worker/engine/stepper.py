"""The render loop: pick a group, one UNet forward over it, one step of each sample's own sampler."""

from __future__ import annotations

import gc
import logging
import time
from typing import TYPE_CHECKING

import torch

from latentfarm.errors import DefectError, DeviceMemoryError
from worker.engine.faults import is_device, is_memory
from worker.engine.forward import forward, shape_of
from worker.engine.group import COURTESY, Group, choose, note_skipped
from worker.engine.limits import Limits
from worker.engine.pace import Pace
from worker.engine.step import advance

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from worker.engine.desk import Desk
    from worker.engine.model import LoadedModel
    from worker.engine.order import Counters
    from worker.engine.roster import Roster
    from worker.engine.sample import Sample

_log = logging.getLogger(__name__)

IDLE_S = 0.25
"""How long an idle loop sleeps between two beats."""
CROWD = 8
"""Samples of one key in flight from which on full batches are expected, and counted apart."""


class Stepper:
    """Steps the samples of a roster until it is told to stop.

    Args:
        done: takes each sample that has had its last step.
        catch: is shown each sample before a step, with what the UNet predicted for it.
        checkpoint_s: seconds between two checkpoints of a sample; 0: none.
    """

    def __init__(
        self,
        models: Mapping[str, LoadedModel],
        roster: Roster,
        desk: Desk,
        counters: Counters,
        done: Callable[[Sample], None],
        catch: Callable[[Sample, torch.Tensor], None],
        checkpoint_s: float = 0.0,
    ) -> None:
        self._roster = roster
        self._desk = desk
        self._counters = counters
        self._done = done
        self._catch = catch
        self._checkpoint_s = checkpoint_s
        self._limits = Limits(models)
        self._pace = Pace(model.device for model in models.values())
        self._since_patient = COURTESY

    def run(self, stopping: threading.Event) -> None:
        """Turns until `stopping` is set; ends at a step boundary.

        Raises:
            Exception: the device cannot be trusted any more.
        """
        while not stopping.is_set():
            self._counters.beat += 1
            active = [sample for sample in self._roster.active(IDLE_S) if self._fits(sample)]
            if not active:
                continue
            started = time.perf_counter()
            self._turn(active)
            self._pace.keep()
            self._counters.busy_s += time.perf_counter() - started

    def _fits(self, sample: Sample) -> bool:
        if sample.reproducible and self._limits.narrowed(sample.key):
            error = DeviceMemoryError("the model's bucket is too large for this device at this size")
            self._desk.failed(sample.order, error)
            return False
        return True

    def _turn(self, active: list[Sample]) -> None:
        group = choose(active, self._limits.of, since_patient=self._since_patient)
        self._since_patient = 1 if group.patient else self._since_patient + 1
        note_skipped(active, group)
        self._try(group)

    def _try(self, group: Group) -> None:
        try:
            noises = self._forward(group)
        except Exception as error:
            if is_device(error):
                raise
            if is_memory(error):
                self._out_of_memory(group, str(error))
            else:
                self._defect(group, error)
            return
        self._count(group)
        for sample, noise in zip(group.samples, noises, strict=True):
            self._step(sample, noise)

    def _forward(self, group: Group) -> list[torch.Tensor]:
        model = group.samples[0].model
        rows = shape_of(group, model.device, model.least_rows)
        try:
            return forward(group, rows)
        except Exception as error:
            if not is_memory(error):
                raise
        # Only here, without the frames that the exception kept alive, can memory be given back.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return forward(group, rows)

    def _out_of_memory(self, group: Group, message: str) -> None:
        """Makes the shape's next forward half as large; a sample that did not fit by itself fails.

        Reproducible ones fail at the next turn: they keep their shape or do not run.
        """
        _log.warning("out of memory with %d rows of %s: %s", group.rows, group.samples[0].key, message)
        if len(group.samples) == 1:
            self._desk.failed(group.samples[0].order, DeviceMemoryError(message))
        else:
            self._limits.halve(group)

    def _defect(self, group: Group, error: Exception) -> None:
        """One sample's trouble must not end the process: each is tried in a forward of its own.

        At its own place in it, so that a reproducible one gets the bits that it would have had.
        """
        if len(group.samples) > 1:
            _log.warning("%d samples are tried one by one: %r", len(group.samples), error)
            for sample, place in zip(group.samples, group.places, strict=True):
                own = place if sample.reproducible else tuple(range(sample.rows))
                self._try(Group([sample], group.limit, group.pool, [own]))
            return
        _log.error("a forward failed", exc_info=error)
        self._desk.failed(group.samples[0].order, DefectError(f"{type(error).__name__}: {error}"))

    def _step(self, sample: Sample, noise: torch.Tensor) -> None:
        try:
            self._catch(sample, noise)
            advance(sample, noise)
        except Exception as error:  # noqa: BLE001 - the samplers of others are none the worse
            self._desk.failed(sample.order, error)
            return
        self._desk.stepped(sample)
        if sample.finished:
            self._roster.retire(sample)
            self._done(sample)
        elif self._checkpoint_s and self._is_due(sample, time.monotonic()):
            self._desk.checkpointed(sample)

    def _is_due(self, sample: Sample, now: float) -> bool:
        """Counted from its first step here: what another engine had saved is still there."""
        due = sample.saved_at is not None and now - sample.saved_at >= self._checkpoint_s
        if due or sample.saved_at is None:
            sample.saved_at = now
        return due

    def _count(self, group: Group) -> None:
        could = max(group.limit, group.rows)
        self._counters.forwards += 1
        self._counters.rows += group.rows
        self._counters.bucket_rows += could
        self._counters.steps += len(group.samples)
        if group.pool >= CROWD:
            self._counters.full_rows += group.rows
            self._counters.full_bucket_rows += could
