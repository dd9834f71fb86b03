"""Takes renders for one incarnation, in transactions of its own.

A claim waits for no ends that are being committed, and no end for a claim: on a busy worker both are
under way at once, and PostgreSQL syncs them together. On an idle one no other thread has to wake up first.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from latentfarm.database import is_away
from latentfarm.logs import get_logger
from latentfarm.repository import claiming
from worker.patience import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from latentfarm.messages import Pair
    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository

AWAY_S = 0.5

T = TypeVar("T")


class Claimer:
    """Used by one thread; `stop` may come from any."""

    def __init__(self, repository: Repository, worker: int) -> None:
        self._repository = repository
        self._worker = worker
        self._stopping = threading.Event()

    def claim(self, pairs: Sequence[Pair], *, is_low: bool = True) -> list[Claimed]:
        """Takes those of `pairs` (render id, fence) that are still to be had; waits for a database that is away.

        Args:
            is_low: see `claiming.claim`.

        Raises:
            Interrupted: `stop` was called meanwhile.
        """
        return self._transact(lambda c: claiming.claim(c, self._worker, pairs, is_low=is_low))

    def look(self, pairs: Sequence[Pair]) -> set[Pair]:
        """Those of `pairs` that a claim would still find; writes nothing. Raises as `claim`."""
        return self._transact(lambda connection: claiming.still_to_be_had(connection, pairs))

    def _transact(self, work: Callable[[Connection], T]) -> T:
        while True:
            try:
                return self._repository.transact(work)
            except Exception as error:
                if not is_away(error):
                    raise
                get_logger().warning("commit_waits", error=str(error).splitlines()[0])
            if self._stopping.wait(AWAY_S):
                raise Interrupted("the worker drains")

    def stop(self) -> None:
        """Nothing is waited for any more."""
        self._stopping.set()
