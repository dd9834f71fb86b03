"""Compares what SQL says this incarnation runs and holds with what it really does, and reports its counters.

Woken by NOTIFY when a job is cancelled or it is assigned other models, and every few seconds in any case: a
notification is a hint.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.database import CHANNEL_CANCEL, CHANNEL_WORKERS
from latentfarm.listening import Listener
from latentfarm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latentfarm.messages import Pair
    from latentfarm.repository.facade import Repository
    from worker.committer import Committer
    from worker.engine.order import Engine
    from worker.holdings import Holdings

CHECK_S = 2.0


class Watch(threading.Thread):
    """Drops what was cancelled or superseded, gives back what was claimed and never arrived.

    `is_reassigned` says that another incarnation is to follow, with other models.

    Args:
        report: the counters to store for metrics.
        models: that it holds.
        retire: called once when it is to hold others.
    """

    def __init__(
        self,
        repository: Repository,
        worker: int,
        holdings: Holdings,
        committer: Committer,
        engine: Engine,
        *,
        database_url: str,
        report: Callable[[], dict[str, Any]],
        models: Sequence[str],
        retire: Callable[[], object],
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._repository = repository
        self._worker = worker
        self._holdings = holdings
        self._committer = committer
        self._engine = engine
        self._report = report
        self._models = frozenset(models)
        self._retire = retire
        self.is_reassigned = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._unknown: set[Pair] = set()
        self._listener = Listener(database_url, [CHANNEL_CANCEL, CHANNEL_WORKERS], self._heard)

    def _heard(self, channel: str, payload: str) -> None:
        if channel != CHANNEL_WORKERS or payload in ("", str(self._worker)):
            self._wake.set()

    def run(self) -> None:
        """Until stopped."""
        self._listener.start()
        while not self._stopping.is_set():
            self._wake.wait(CHECK_S)
            self._wake.clear()
            try:
                self.check()
            except SQLAlchemyError as error:
                get_logger().warning("watch_failed", error=str(error).splitlines()[0])

    def check(self) -> None:
        """One comparison."""
        held = self._holdings.pairs()
        owned, assigned = self._repository.owned(self._worker, self._report())
        self._compare(assigned)
        for render_id, fence in held - owned:
            self._lose(render_id, fence)
        # Seen twice: a claim that was committed, but whose answer was lost on the way.
        unknown = owned - self._holdings.pairs()
        lost = unknown & self._unknown
        if lost:
            get_logger().warning("claims_without_answer", renders=len(lost))
            self._committer.release(sorted(lost))
        self._unknown = unknown - lost

    def _compare(self, assigned: list[str] | None) -> None:
        """Makes way for an incarnation with other models."""
        if assigned is None or self.is_reassigned or self._models == frozenset(assigned):
            return
        get_logger().info(
            "models_reassigned", worker=self._worker, holds=sorted(self._models), assigned=assigned
        )
        self.is_reassigned = True
        self._retire()

    def _lose(self, render_id: int, fence: int) -> None:
        """Gone from SQL, unless it was settled in between."""
        if self._holdings.get(render_id, fence) is not None:
            self._engine.drop(render_id)
            self._holdings.remove(render_id, fence)
            get_logger().info("superseded", render=render_id, fence=fence)

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._wake.set()
        self._listener.stop()
