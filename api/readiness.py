"""Asks all services at once, and waits for none of them for long."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from latentfarm.doctor.finding import Finding

PATIENCE_S = 5.0
"""A service that has not answered by then counts as away."""


class Readiness:
    """The checks by name. A check that hangs is asked once, however often somebody wants to know."""

    def __init__(self, checks: Mapping[str, Callable[[], Finding]], patience_s: float = PATIENCE_S) -> None:
        self._checks = checks
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Finding]] = {}
        self._pool = ThreadPoolExecutor(max_workers=len(checks), thread_name_prefix="ready")

    def ask(self) -> list[Finding]:
        """What each check finds within the time that there is."""
        with self._lock:
            for name, check in self._checks.items():
                if name not in self._asked or self._asked[name].done():
                    self._asked[name] = self._pool.submit(check)
            asked = dict(self._asked)
        wait(asked.values(), timeout=self._patience_s)
        return [self._found(name, future) for name, future in asked.items()]

    def close(self) -> None:
        """Asks nobody any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _found(self, name: str, future: Future[Finding]) -> Finding:
        if future.done():
            return future.result()
        return Finding(name, ok=False, detail=f"no answer within {self._patience_s:g} s")
