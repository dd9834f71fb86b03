"""Tells when a consumer has hung.

A parent sees by the engine's beat that its child lives; whether messages still reach it, only the child can
see. Kombu has had several faults that left a worker connected and silent for ever after a death of Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.holdings import Holdings
    from worker.inbox import Inbox

LOOK_S = 2.0
LOOKS = 6
"""Looks in a row that must find it idle beside waiting messages. Counted, not timed: a process that was
stopped for a minute has looked once."""


class Watched(Protocol):
    """What is watched; `worker.consumer.Consumer` is one."""

    taken: int

    def waiting(self) -> bool:
        """Whether messages wait that it should have taken by now."""


class Standstill:
    """Looks at a consumer every `LOOK_S` seconds."""

    def __init__(self, consumer: Watched, inbox: Inbox, holdings: Holdings) -> None:
        self._consumer = consumer
        self._inbox = inbox
        self._holdings = holdings
        self._look_at = float("-inf")
        self._taken = consumer.taken
        self._idle = 0

    def look(self, now: float) -> bool:
        """Whether it hangs: messages wait, and for `LOOKS` looks it has taken, has had and holds none.

        Args:
            now: monotonic seconds.
        """
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._idle = self._idle + 1 if self._is_idle() else 0
            self._taken = self._consumer.taken
        return self._idle >= LOOKS

    def _is_idle(self) -> bool:
        return (
            self._consumer.taken == self._taken
            and len(self._holdings) == 0
            and self._inbox.is_empty()
            and self._consumer.waiting()
        )
