"""How many tries run at once, and of whom: nobody who is slow holds up the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.webhooks.hook import Waiting

IN_ALL, OF_TENANT, OF_TARGET = 32, 16, 4
SLOW_S = 3.0
"""A receiver whose last try took longer is slow."""
REMEMBERED = 10_000
"""Slow receivers that are remembered."""


class Slots:
    """The tries of one process. Not thread-safe.

    Slow receivers get one slot each, and half of all between them: that much of the other half waits for nobody.
    """

    def __init__(self, in_all: int = IN_ALL, of_tenant: int = OF_TENANT, of_target: int = OF_TARGET) -> None:
        self.in_all = in_all
        self.of_tenant = of_tenant
        self.of_target = of_target
        self._tenants: Counter[str] = Counter()
        self._targets: Counter[tuple[str, str]] = Counter()
        self._slow: dict[tuple[str, str], None] = {}
        self._slow_taken = 0
        self._taken: dict[object, bool] = {}

    @property
    def free(self) -> int:
        """Slots that nobody has."""
        return self.in_all - len(self._taken)

    def choose(self, candidates: Iterable[Waiting]) -> list[Waiting]:
        """Takes slots for as many as may have one, in their order."""
        return [one for one in candidates if self._take(one)]

    def leave(self, one: Waiting, took_s: float | None = None) -> None:
        """Gives a slot back; `took_s` says whether its receiver is slow, None: it was not tried."""
        self._slow_taken -= self._taken.pop(one.id)
        key = (one.tenant, one.target)
        self._tenants -= Counter([one.tenant])
        self._targets -= Counter([key])
        if took_s is None:
            return
        self._slow.pop(key, None)
        if took_s > SLOW_S:
            self._slow[key] = None
            if len(self._slow) > REMEMBERED:
                del self._slow[next(iter(self._slow))]

    def _take(self, one: Waiting) -> bool:
        key = (one.tenant, one.target)
        slow = key in self._slow
        most = 1 if slow else self.of_target
        if (
            self.free <= 0
            or one.id in self._taken
            or self._targets[key] >= most
            or self._tenants[one.tenant] >= self.of_tenant
            or (slow and self._slow_taken >= self.in_all // 2)
        ):
            return False
        self._taken[one.id] = slow
        self._slow_taken += slow
        self._tenants[one.tenant] += 1
        self._targets[key] += 1
        return True
