"""Waiting for a service that is away, without giving up what was rendered and without waiting for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from latentfarm.errors import TransientError
from latentfarm.logs import get_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

FIRST_S, LONGEST_S = 0.5, 15.0

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 - an outcome: the worker stops, and nobody is to blame
    """The worker drains; the render goes back to its queue."""


def patiently(work: Callable[[], T], *, what: str, limit_s: float, stopping: threading.Event) -> T:
    """Repeats `work` while it raises TransientError, with pauses that double.

    Raises:
        TransientError: still so after `limit_s` seconds.
        Interrupted: `stopping` was set meanwhile.
    """
    deadline = time.monotonic() + limit_s
    pause_s = FIRST_S
    while True:
        try:
            return work()
        except TransientError as error:
            if time.monotonic() + pause_s > deadline:
                raise
            get_logger().warning("waiting_for_storage", what=what, error=str(error))
        if stopping.wait(pause_s):
            raise Interrupted(what)
        pause_s = min(2 * pause_s, LONGEST_S)
