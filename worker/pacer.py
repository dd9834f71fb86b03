"""Keeps an eye on the consumer: bulk queues pause when the inbox is full; one that hangs ends the child."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from latentfarm.logs import get_logger
from worker.exits import STANDS_STILL
from worker.standstill import Standstill

if TYPE_CHECKING:
    from worker.consumer import Consumer
    from worker.holdings import Holdings
    from worker.inbox import Inbox

PACE_S = 0.1


class Pacer(threading.Thread):
    """Switches the bulk queues off while the inbox is full, and on again."""

    def __init__(self, consumer: Consumer, inbox: Inbox, holdings: Holdings) -> None:
        super().__init__(name="pacer", daemon=True)
        self._consumer = consumer
        self._inbox = inbox
        self._holdings = holdings
        self._standstill = Standstill(consumer, inbox, holdings)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        on = True
        while not self._stopping.wait(PACE_S):
            wanted = self._inbox.wants_bulk(len(self._holdings))
            if wanted != on:
                self._consumer.set_bulk(on=wanted)
                on = wanted
            if self._standstill.look(time.monotonic()):
                # Nothing is held, so nothing is lost: the parent starts the next child.
                get_logger().error("consumer_stands_still")
                os._exit(STANDS_STILL)

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
