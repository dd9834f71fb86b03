"""Celery in the child: one task, which only fills the inbox."""

from __future__ import annotations

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
from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from worker.inbox import Inbox


class Consumer:
    """The Celery worker of one child, run in its main thread.

    `taken` counts the messages that it has had.
    """

    def __init__(
        self, redis_url: str, name: str, inbox: Inbox, stages: Sequence[Stage], models: Sequence[ModelEntry]
    ) -> None:
        self.taken = 0
        self._inbox = inbox
        self._queues = {
            lane: [queue_name(stage, entry.name, lane) for entry in models for stage in stages]
            for lane in Lane
        }
        if Stage.SEAL in stages:
            self._queues = {Lane.INTERACTIVE: [], Lane.BULK: [queue_name(Stage.SEAL, "", Lane.BULK)]}
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
            # The one task only fills the inbox: handing it to another thread costs more than it does.
            pool="solo",
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        )

    def _deliver(self, request: Any, payload: object) -> None:
        """The one task. Never waits: it runs in the thread that reads, and interactive messages come by that, too."""
        self.taken += 1
        interactive = str(request.delivery_info["routing_key"]).endswith(Lane.INTERACTIVE)
        lane = Lane.INTERACTIVE if interactive else Lane.BULK
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
        """Whether Redis holds messages that this consumer should have taken.

        False while it has no connection: Celery tries again by itself, up to 30 s apart.
        """
        consumer = self._worker.consumer
        if consumer is None or consumer.connection is None:
            return False
        names = [name for lane in Lane for name in self._queues[lane]]
        try:
            return any(self._look.llen(name) for name in names)
        except RedisError:
            return False

    def set_bulk(self, *, on: bool) -> None:
        """Consumes the bulk queues, or leaves them to others."""
        consumer = self._worker.consumer
        if consumer is None or consumer.task_consumer is None:
            return
        act = consumer.add_task_queue if on else consumer.cancel_task_queue
        for name in self._queues[Lane.BULK]:
            consumer.call_soon(act, name)
