"""Celery in the child: a task that only fills the inbox, and bulk queues that pause when it is full."""

from __future__ import annotations

import os
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from celery.platforms import SecurityWarning
from redis import Redis
from redis.exceptions import RedisError

from latentfarm import messages
from latentfarm.broker import SOCKET, celery_app
from latentfarm.errors import BadMessage
from latentfarm.logs import get_logger
from latentfarm.messages import TASK, queue_name
from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.states import Stage
    from worker.holdings import Holdings
    from worker.inbox import Inbox

PACE_S = 0.1
LOOK_S = 2.0
STILL_S = 10.0
"""Seconds for which messages may wait beside an idle consumer before it counts as hung."""
STANDS_STILL = 4
"""Exit status of a child whose consumer hangs."""


class Consumer:
    """The Celery worker of one child, run in its main thread."""

    def __init__(
        self, redis_url: str, name: str, inbox: Inbox, stages: Sequence[Stage], models: Sequence[ModelEntry]
    ) -> None:
        self._inbox = inbox
        self._queues = {
            lane: [queue_name(stage, entry.name, lane) for entry in models for stage in stages]
            for lane in Lane
        }
        self._look: Redis = Redis.from_url(redis_url, **SOCKET)
        self.app = celery_app(redis_url)

        # A plain function: Celery reads its signature, and would bind a method to the task.
        def deliver(task: Any, payload: object) -> None:
            self._deliver(task.request, payload)

        self.app.task(name=TASK, bind=True)(deliver)
        # Interactive queues come first: Redis hands out of the first list that has something.
        names = [*self._queues[Lane.INTERACTIVE], *self._queues[Lane.BULK]]
        # Celery warns a worker of root's about pickle; only JSON is accepted here.
        warnings.filterwarnings("ignore", category=SecurityWarning)
        self._worker: Any = self.app.Worker(
            hostname=f"{name}@%h",
            queues=names,
            pool="threads",
            concurrency=2,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        )

    def _deliver(self, request: Any, payload: object) -> None:
        """The one task. Never waits: a waiting task would hold its thread against interactive ones."""
        lane = (
            Lane.BULK if str(request.delivery_info["routing_key"]).endswith(Lane.BULK) else Lane.INTERACTIVE
        )
        try:
            self._inbox.offer(messages.decode(payload), lane)
        except BadMessage as error:
            # Dropped: if it stood for a render, SQL knows, and the scheduler sends it again.
            get_logger().warning("bad_message", error=str(error), payload=repr(payload)[:200])

    def run(self) -> None:
        """Consumes until the process is told to stop."""
        self._worker.start()

    def stop(self) -> None:
        """Ends `run` from another thread."""
        from celery.worker import state

        state.should_stop = 0

    def waiting(self) -> bool:
        """Whether Redis holds messages that this consumer should have taken."""
        names = [name for lane in Lane for name in self._queues[lane]]
        return any(self._look.llen(name) for name in names)

    def set_bulk(self, *, on: bool) -> None:
        """Consumes the bulk queues, or leaves them to others."""
        consumer = self._worker.consumer
        if consumer is None or consumer.task_consumer is None:
            return
        act = consumer.add_task_queue if on else consumer.cancel_task_queue
        for name in self._queues[Lane.BULK]:
            consumer.call_soon(act, name)


class Pacer(threading.Thread):
    """Switches the bulk queues off while the inbox is full, and on again."""

    def __init__(self, consumer: Consumer, inbox: Inbox, holdings: Holdings) -> None:
        super().__init__(name="pacer", daemon=True)
        self._consumer = consumer
        self._inbox = inbox
        self._holdings = holdings
        self._stopping = threading.Event()
        self._look_at = 0.0
        self._idle_since = time.monotonic()

    def run(self) -> None:
        """Until stopped."""
        on = True
        while not self._stopping.wait(PACE_S):
            wanted = self._inbox.wants_bulk(len(self._holdings))
            if wanted != on:
                self._consumer.set_bulk(on=wanted)
                on = wanted
            if self._stands_still():
                # Celery can be left waiting for ever when Redis dies while it acknowledges. Nothing is
                # held, so nothing is lost: the parent starts the next child.
                get_logger().error("consumer_stands_still")
                os._exit(STANDS_STILL)

    def _stands_still(self) -> bool:
        """Idle for `STILL_S` seconds although Redis holds messages for it."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        try:
            idle = len(self._holdings) == 0 and self._inbox.is_empty() and self._consumer.waiting()
        except RedisError:
            idle = False
        if not idle:
            self._idle_since = now
        return now - self._idle_since > STILL_S

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
