"""Sends what was just accepted, without letting the answer wait for Redis."""

import dataclasses
import queue
import threading
from collections.abc import Callable, Sequence

from latentfarm.logs import get_logger
from latentfarm.records import Picked

STOP_S = 3.0
"""Longer would keep an API from ending while Redis hangs; what it leaves the scheduler sends, some seconds later."""


class Hurry(threading.Thread):
    """One thread that sends what it is told of. While Redis hangs, only this thread does.

    Nothing is lost with it: the scheduler dispatches, or sends again, what was not sent here.

    Args:
        told: what was picked, or ids of queues, put there by whoever has committed something.
        send: takes one of them.
    """

    def __init__(
        self, told: queue.SimpleQueue[int | Picked | None], send: Callable[[int | Picked], None]
    ) -> None:
        super().__init__(name="hurry", daemon=True)
        self._told = told
        self._send = send

    def stop(self) -> None:
        """Ends the thread once it has sent what it was told of, or after `STOP_S`."""
        self._told.put(None)
        self.join(STOP_S)

    def run(self) -> None:
        """Until `stop`."""
        ending = False
        while not ending:
            together = [self._told.get()]
            while not self._told.empty():
                together.append(self._told.get())
            ending = None in together
            for one in joined([one for one in together if one is not None]):
                self._try(one)

    def _try(self, one: int | Picked) -> None:
        try:
            self._send(one)
        except Exception as error:  # noqa: BLE001 - nobody would start the thread again
            # The end of the process closes connections under a send that a stuck Redis holds up: any error may follow.
            queue_id = one.queue.id if isinstance(one, Picked) else one
            get_logger().warning("not_dispatched", queue=queue_id, error=type(error).__name__)


def joined(told: Sequence[int | Picked]) -> list[int | Picked]:
    """The same in fewer: a hundred submits that came meanwhile need one send, and one look at their queue."""
    picked: dict[int, Picked] = {}
    for one in told:
        if isinstance(one, Picked):
            before = picked.get(one.queue.id)
            picks = one.picks if before is None else before.picks + one.picks
            picked[one.queue.id] = dataclasses.replace(one, picks=picks)
    return [*picked.values(), *dict.fromkeys(one for one in told if not isinstance(one, Picked))]
