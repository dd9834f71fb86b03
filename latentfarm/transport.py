"""Kombu's Redis transport, with a few differences that keep a worker reading, and reading fast.

An item that is no message is dropped: Kombu lets whatever goes wrong while it unpacks one end the whole
worker, and anyone who can write to Redis can put such an item there.

Redis is told of no delivery. Kombu would copy each message into a hash and delete it from there once it is
acknowledged: two more round trips for each, to find an hour later what a worker had lost. SQL knows within seconds.

So credit is never lost either: Kombu reads no more once as many messages as Celery asked for are unacknowledged,
and an acknowledgement that Redis did not take would count as missing for ever.

What a dropped message stood for, if anything, SQL knows and the scheduler sends again.
"""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

from kombu.exceptions import ContentDisallowed, SerializationError, SerializerNotInstalled
from kombu.transport import redis, virtual

_log = logging.getLogger(__name__)

UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)
"""What reading an item as JSON raises. No more: what a lost connection raises must reach Kombu, or the
worker would wait for an answer that nobody was asked for."""
BRPOP_S = 0.1
"""Seconds of one BRPOP. It names the queues of the moment at which it was sent: a worker whose bulk queues are switched on
again reads none of them before its last one has ended, and with Kombu's second was idle for most of that."""
RUINED = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    RecursionError,
    ContentDisallowed,
    SerializationError,
    SerializerNotInstalled,
)
"""What unpacking raises for JSON that is no message, or one that is not in JSON."""


class QoS(redis.QoS):
    """Counts what was delivered and not acknowledged in this process alone."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message was delivered."""
        virtual.QoS.append(self, message, delivery_tag)  # type: ignore[no-untyped-call]  # kombu has no types

    def ack(self, delivery_tag: str) -> None:
        """A message is settled. Asks nobody, so it cannot fail."""
        self._quick_ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """A message is not wanted here; with `requeue` it goes behind all that waits."""
        try:
            if requeue:
                self.restore_by_tag(delivery_tag, leftmost=True)
        finally:
            self._quick_ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Puts a message that was delivered here back into its queue."""
        message = self._delivered.get(tag)
        if message is None or tag in self._dirty:
            return
        where = message.delivery_info["exchange"], message.delivery_info["routing_key"]
        with self.channel.conn_or_acquire(client) as connection:
            # Nothing public puts a message back.
            self.channel._do_restore_message(message._raw, *where, connection, leftmost)  # noqa: SLF001

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """There is no hash to look through."""


class Channel(redis.Channel):
    """Reads what BRPOP gives, and survives what is no JSON."""

    QoS = QoS

    def _brpop_start(self, timeout: float | None = None) -> None:
        super()._brpop_start(BRPOP_S if timeout is None else timeout)  # type: ignore[no-untyped-call]  # kombu has no types

    def basic_cancel(self, consumer_tag: str) -> Any:
        """A queue is consumed no more, for now."""
        if (queue := self._tag_to_queue.get(consumer_tag)) is not None:
            self.connection.left.add(queue)
        return super().basic_cancel(consumer_tag)  # type: ignore[no-untyped-call]  # kombu has no types

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu has no types
        except UNREADABLE as error:
            _log.warning("dropped an item that is no JSON: %r", error)
            return True


class Transport(redis.Transport):
    """Named by its path in Celery's `broker_transport`. Survives JSON that is no message."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # kombu has no types
        self.left: set[str] = set()
        """Queues that were consumed and are not any more, unless they are again."""

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            if queue in self.left and queue not in self._callbacks:
                # The BRPOP was sent before the queue was switched off. Kombu would warn, as it does of a queue that
                # nobody here has ever consumed.
                _log.debug("put back what came of %s, which was switched off meanwhile", queue)
                self._reject_inbound_message(message)  # type: ignore[no-untyped-call]  # kombu has no types
                return
            if message["headers"].get("compression"):
                # Nobody knows how much comes out of it.
                raise ValueError("it is packed, and ours never are")
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]  # kombu has no types
        except RUINED as error:
            _log.warning("dropped an item that is no message: %r", error)
            self._settle(message)

    def _settle(self, message: Any) -> None:
        """Acknowledges what a channel had begun to count before it turned out to be no message."""
        for channel in self.channels:
            # A channel that does not count it says so with a KeyError.
            with contextlib.suppress(*RUINED):
                tag = message["properties"]["delivery_tag"]
                channel.qos.get(tag)
                channel.basic_ack(tag)
