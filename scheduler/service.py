"""The scheduler's loops: dispatch, woken by NOTIFY, and the duties, woken by time."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.database import CHANNEL_WORK, was_unreachable
from latentfarm.dispatch import dispatch
from latentfarm.listening import Listener
from latentfarm.logs import get_logger
from latentfarm.repository import dispatching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.broker import Sender
    from latentfarm.records import Queue
    from latentfarm.repository.facade import Repository
    from scheduler.duties import Duties
    from scheduler.duty import Duty

ROUND_S = 1.0
"""Seconds after which every queue is looked at at the latest, whether a notification came or not."""
AWAY_S = 1.0
"""Seconds to wait when the database or Redis is away."""


class Dispatcher(threading.Thread):
    """Keeps every queue's window full."""

    def __init__(self, repository: Repository, sender: Sender, database_url: str) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._repository = repository
        self._sender = sender
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._named: set[str] = set()
        self._listener = Listener(database_url, [CHANNEL_WORK], self._heard)

    def _heard(self, _: str, payload: str) -> None:
        self._named.add(payload)
        self._wake.set()

    def run(self) -> None:
        """Until stopped: a round over the queues that were named, and now and then over all."""
        self._listener.start()
        next_round = 0.0
        while not self._stopping.is_set():
            everything = time.monotonic() >= next_round
            if everything:
                # Never in step with the polls of workers: one of them would get each round's messages first.
                next_round = time.monotonic() + ROUND_S * random.uniform(0.6, 1.0)  # noqa: S311 - no secret
            try:
                self._round(everything=everything)
            except Exception as error:  # noqa: BLE001 - nobody would start the thread again
                first = (str(error).splitlines() or [type(error).__name__])[0]
                get_logger().warning("dispatch_failed", error=first)
                self._stopping.wait(AWAY_S)
            self._wake.wait(max(0.0, next_round - time.monotonic()))

    def _round(self, *, everything: bool) -> None:
        self._wake.clear()
        named, self._named = self._named, set()
        for queue in self._repository.transact(dispatching.waiting_queues, single=True):
            if everything or "" in named or str(queue.id) in named:
                self._fill(queue)

    def _fill(self, queue: Queue) -> None:
        count = dispatch(self._repository, self._sender, queue)
        if count:
            get_logger().debug("dispatched", queue=queue.name, renders=count)

    def stop(self) -> None:
        """Ends the loop after the round that it is in."""
        self._stopping.set()
        self._wake.set()
        self._listener.stop()


def sweep_until(stopping: threading.Event, duties: Duties, schedule: Sequence[Duty]) -> None:
    """Runs each duty when it is due, until `stopping` is set. One that fails does not stop the others."""
    while not stopping.is_set():
        for duty in schedule:
            now = time.monotonic()
            if now < duty.due or stopping.is_set():
                continue
            try:
                duty.run(duties.repository, now)
            except SQLAlchemyError as error:
                away = was_unreachable(error)
                if away:
                    duties.calm_since = time.monotonic()
                first = str(error).splitlines()[0]
                get_logger().warning("database_away" if away else "sweep_failed", duty=duty.name, error=first)
                stopping.wait(AWAY_S)
            except Exception:  # noqa: BLE001 - one duty's defect must not end the others, rescue among them
                get_logger().exception("sweep_failed", duty=duty.name)
        stopping.wait(max(0.05, min(duty.due for duty in schedule) - time.monotonic()))
