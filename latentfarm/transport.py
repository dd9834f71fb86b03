"""Kombu's Redis transport, with two differences that keep a worker reading.

An item that is no message is dropped: Kombu lets whatever goes wrong while it unpacks one end the whole
worker, and anyone who can write to Redis can put such an item there.

Credit is never lost: Kombu reads no more once as many messages as Celery asked for are unacknowledged. An
acknowledgement that Redis did not take is logged and forgotten, its message counts as unacknowledged for
ever, and after the second one the worker would wait for ever, with no connection left that could tell it.

What a dropped message stood for, if anything, SQL knows and the scheduler sends again.
"""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

from kombu.transport import redis

_log = logging.getLogger(__name__)

UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)
"""What reading an item as JSON raises. No more: what a lost connection raises must reach Kombu, or the
worker would wait for an answer that nobody was asked for."""
RUINED = (TypeError, ValueError, LookupError, AttributeError)
"""What unpacking raises for JSON that is no message."""


class QoS(redis.QoS):
    """Counts a message as settled also when Redis was away."""

    def ack(self, delivery_tag: str) -> None:
        """Tells Redis, and gives the credit back whatever comes of it."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu has no types
        finally:
            self._quick_ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """The same."""
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]  # kombu has no types
        finally:
            self._quick_ack(delivery_tag)


class Channel(redis.Channel):
    """Reads what BRPOP gives, and survives what is no JSON."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu has no types
        except UNREADABLE as error:
            _log.warning("dropped an item that is no JSON: %r", error)
            return True


class Transport(redis.Transport):
    """Named by its path in Celery's `broker_transport`. Survives JSON that is no message."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
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
