"""The time that one shard is worked at: it is told of to the parent, and it may be ended from outside."""

from __future__ import annotations

import time
from concurrent.futures import wait
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

TURN_S = 0.1
HELP_S = 900.0
"""Longer than any service is waited for: whoever has not come back by then hangs, and the parent is to see it."""

T = TypeVar("T")


class Abandoned(Exception):  # noqa: N818 - an outcome: nobody is to blame
    """The shard is not to be packed any more, or not here."""


class Shift:
    """One shard's. Thread-safe.

    Args:
        beat: tells the parent that this process lives.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self.over = Event()
        self._beat = beat

    def go_on(self) -> None:
        """Between two images, and at every turn of a wait.

        Raises:
            Abandoned: the shift is over.
        """
        if self.over.is_set():
            raise Abandoned
        self._beat()

    def wait(self, answer: Future[T]) -> T:
        """What a helper's work gave, or its exception.

        Raises:
            Abandoned: the shift is over.
        """
        until = time.monotonic() + HELP_S
        while not answer.done():
            if time.monotonic() < until or self.over.is_set():
                self.go_on()
            wait([answer], timeout=TURN_S)
        return answer.result()
