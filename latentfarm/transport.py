"""Kombu's Redis transport, with one difference: an item that is no message is dropped, and the worker lives.

Kombu lets whatever goes wrong while it unpacks an item end the whole worker, and anyone who can write to
Redis can put such an item there. What it stood for, if anything, SQL knows and the scheduler sends again.
"""

from __future__ import annotations

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


class Channel(redis.Channel):
    """Reads what BRPOP gives, and survives what is no JSON."""

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
