"""Sends what was just accepted, without letting the answer wait for Redis."""

import queue
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.logs import get_logger
from latentfarm.records import Picked


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
        """Ends the thread after what it is at."""
        self._told.put(None)

    def run(self) -> None:
        """Until `stop`."""
        while (first := self._told.get()) is not None:
            together = {first}
            # A hundred submits that came meanwhile need one look at their queue.
            while not self._told.empty():
                following = self._told.get()
                if following is None:
                    return
                together.add(following)
            for one in together:
                self._try(one)

    def _try(self, one: int | Picked) -> None:
        try:
            self._send(one)
        except SQLAlchemyError as error:
            queue_id = one.queue.id if isinstance(one, Picked) else one
            get_logger().warning("not_dispatched", queue=queue_id, error=type(error).__name__)
