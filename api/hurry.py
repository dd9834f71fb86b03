"""Sends what was just accepted, without letting the answer wait for Redis."""

import queue
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.logs import get_logger


class Hurry(threading.Thread):
    """One thread that dispatches the queues it is told of. While Redis hangs, only this thread does.

    Nothing is lost with it: the scheduler dispatches what was not dispatched here.

    Args:
        told: ids of queues, put there by whoever has committed something.
        dispatch: takes the id of a queue.
    """

    def __init__(self, told: queue.SimpleQueue[int | None], dispatch: Callable[[int], None]) -> None:
        super().__init__(name="hurry", daemon=True)
        self._told = told
        self._dispatch = dispatch

    def stop(self) -> None:
        """Ends the thread after the dispatch that it is at."""
        self._told.put(None)

    def run(self) -> None:
        """Until `stop`."""
        while (first := self._told.get()) is not None:
            together = {first}
            # A hundred submits that came meanwhile need one dispatch.
            while not self._told.empty():
                following = self._told.get()
                if following is None:
                    return
                together.add(following)
            for queue_id in together:
                self._send(queue_id)

    def _send(self, queue_id: int) -> None:
        try:
            self._dispatch(queue_id)
        except SQLAlchemyError as error:
            get_logger().warning("not_dispatched", queue=queue_id, error=type(error).__name__)
