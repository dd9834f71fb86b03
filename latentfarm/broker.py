"""Celery, and all that the farm knows of it: configuration, sending, and what Redis has lost.

Redis carries hints. Nothing here may be needed for a job to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from latentfarm.errors import ServiceUnavailable
from latentfarm.messages import CHUNK, TASK, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery
    from redis import Redis

    from latentfarm.records import Pick

EPOCH_KEY = "latentfarm:epoch"
"""Present as long as Redis has not lost its data since the scheduler last looked."""

#: Without these a connection whose other end vanished hangs its worker for ever.
SOCKET = {
    "socket_timeout": 10.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 5,
}


class Sender(Protocol):
    """What dispatch needs of the broker."""

    def send(self, queue: str, picks: Sequence[Pick], *, chunk: int) -> None:
        """Publishes messages of up to `chunk` renders each.

        Raises:
            ServiceUnavailable: Redis did not take them. Harmless: they are sent again later.
        """

    def length(self, queue: str) -> int:
        """Messages that wait in the queue's list."""


def celery_app(redis_url: str) -> Celery:
    """The Celery application of workers and senders: JSON, no results, early ack."""
    from celery import Celery

    app = Celery("latentfarm", broker=redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_pool="solo",
        worker_concurrency=2,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport="latentfarm.transport:Transport",
        task_create_missing_queues=True,
        broker_pool_limit=4,
        broker_transport_options={**SOCKET, "queue_order_strategy": "sorted"},
        # Kombu logs each connection it cannot make; one line a second is enough to be seen.
        broker_connection_timeout=5,
    )
    return app


class Broker:
    """Sends messages, and tells how many wait. One per process; made by entry points."""

    def __init__(self, redis_url: str) -> None:
        import redis

        from latentfarm.envelope import Envelope

        self.redis: Redis = redis.Redis.from_url(redis_url, **SOCKET)
        self._envelope = Envelope(TASK)

    def send(self, queue: str, picks: Sequence[Pick], *, chunk: int = CHUNK) -> None:
        """See `Sender.send`. Suspects travel alone, so that a worker knows before it claims them."""
        import redis.exceptions

        together = [pick for pick in picks if not pick.alone]
        groups = [together[start : start + chunk] for start in range(0, len(together), chunk)]
        groups += [[pick] for pick in picks if pick.alone]
        if not groups:
            return
        try:
            # All of them in one round trip; a worker reads from the other end.
            self.redis.lpush(queue, *(self._message(queue, group) for group in groups))
        except (redis.exceptions.RedisError, OSError) as error:
            raise ServiceUnavailable(f"Redis took no messages for {queue}: {error}") from error

    def _message(self, queue: str, group: Sequence[Pick]) -> str:
        message = Message(tuple((pick.render_id, pick.fence) for pick in group), alone=group[0].alone)
        return self._envelope.around(message.encode(), queue)

    def close(self) -> None:
        """Closes its connections."""
        self.redis.close()

    def length(self, queue: str) -> int:
        """See `Sender.length`."""
        import redis.exceptions

        try:
            return int(self.redis.llen(queue))
        except redis.exceptions.RedisError as error:
            raise ServiceUnavailable(f"Redis did not tell the length of {queue}: {error}") from error

    def lost_everything(self) -> bool:
        """Whether Redis was flushed since `mark_epoch`."""
        import redis.exceptions

        try:
            return not self.redis.exists(EPOCH_KEY)
        except redis.exceptions.RedisError as error:
            raise ServiceUnavailable(f"Redis did not answer: {error}") from error

    def mark_epoch(self) -> None:
        """Leaves the mark whose absence says that Redis has lost its data."""
        import redis.exceptions

        try:
            self.redis.set(EPOCH_KEY, "1")
        except redis.exceptions.RedisError as error:
            raise ServiceUnavailable(f"Redis did not answer: {error}") from error
