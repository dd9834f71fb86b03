"""Kombu's Redis transport, with one difference: an item that is no message is dropped, and the worker lives.

Kombu lets whatever goes wrong while it unpacks an item end the whole worker, and anyone who can write to
Redis can put such an item there. What it stood for, if anything, SQL knows and the scheduler sends again.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis

_log = logging.getLogger(__name__)

RUINED = (TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""What unpacking raises for items that are not JSON, not an object, or lack a part. Network errors are not among."""


class Channel(redis.Channel):
    """Reads what BRPOP gives, and survives it."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu has no types
        except RUINED as error:
            _log.warning("dropped an item that is no message: %r", error)
            return True


class Transport(redis.Transport):
    """Named by its path in Celery's `broker_transport`."""

    Channel = Channel
