"""Whose turn it is at what takes memory and time: so many at once, and of one tenant half of them."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latentfarm.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """The turns of one process. Thread-safe.

    A tenant whose pictures come from servers that take all the time there is leaves half of the turns to the others.

    Args:
        at_once: turns in all, at least 2.
        patience_s: seconds that somebody waits for one.
    """

    def __init__(self, at_once: int, patience_s: float) -> None:
        self._at_once = at_once
        self._of_tenant = at_once // 2
        self._patience_s = patience_s
        self._taken: Counter[str] = Counter()
        self._left = threading.Condition()

    @contextmanager
    def turn(self, tenant: str) -> Iterator[None]:
        """One turn.

        Raises:
            ServiceUnavailable: there was none in time.
        """
        with self._left:
            if not self._left.wait_for(lambda: self._has_room(tenant), self._patience_s):
                raise ServiceUnavailable("too many pictures are being looked at")
            self._taken[tenant] += 1
        try:
            yield
        finally:
            with self._left:
                # What has come to zero is forgotten: tenants come and go.
                self._taken -= Counter([tenant])
                self._left.notify_all()

    def _has_room(self, tenant: str) -> bool:
        return self._taken.total() < self._at_once and self._taken[tenant] < self._of_tenant
