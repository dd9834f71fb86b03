"""The one place that speaks to the listener: each order is told of once, dropped ones never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.errors import DeviceError, RenderError
from worker.engine.checkpoint import snapshot
from worker.engine.faults import is_device, of_one_sample

if TYPE_CHECKING:
    from worker.engine.order import Counters, Handover, Listener, Order, Picture
    from worker.engine.roster import Roster
    from worker.engine.sample import Sample


class Desk:
    """Tells the listener what became of orders, and takes them off the roster."""

    def __init__(self, roster: Roster, listener: Listener, counters: Counters) -> None:
        self._roster = roster
        self._listener = listener
        self._counters = counters

    def stepped(self, sample: Sample) -> None:
        """The sample took a step."""
        if self._roster.holds(sample.order):
            self._listener.stepped(sample.order, sample.index, sample.total)

    def checkpointed(self, sample: Sample) -> None:
        """The sample has taken steps that are worth keeping."""
        if self._roster.holds(sample.order):
            self._listener.checkpointed(sample.order, snapshot(sample))

    def finished(self, order: Order, result: Handover | Picture) -> None:
        """The stage is done."""
        if self._roster.settle(order):
            self._listener.finished(order, result)

    def failed(self, order: Order, error: Exception) -> None:
        """Work done for this order alone went wrong; its neighbours are none the worse.

        Raises:
            Exception: `error` itself if it means that the device cannot be trusted any more.
        """
        if is_device(error):
            raise error
        self._tell(order, of_one_sample(error))

    def all_failed(self, error: Exception) -> DeviceError:
        """The device is lost, and with it every order that was let in; the waiting ones are not touched."""
        verdict = DeviceError(f"{type(error).__name__}: {error}")
        for order in self._roster.inside():
            self._tell(order, verdict)
        return verdict

    def _tell(self, order: Order, error: RenderError) -> None:
        if self._roster.settle(order):
            name = str(error.error_class)
            # Replaced, not altered: whoever reads the counters may be half way through it.
            self._counters.errors = {
                **self._counters.errors,
                name: self._counters.errors.get(name, 0) + 1,
            }
            self._listener.failed(order, error)
