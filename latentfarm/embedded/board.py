"""What a program's thread and those who watch it share: its state, and a way to wait for a change."""

import threading
import time
from collections.abc import Callable

from latentfarm.embedded.program import State

GOOD = frozenset({State.READY, State.DONE})
OVER = frozenset({State.STOPPED, State.DONE, State.FAILED})


class Board:
    """A state and since when it is so (seconds since the epoch)."""

    def __init__(self) -> None:
        self.state = State.WAITING
        self.since = time.time()
        self._change = threading.Condition()

    def enter(self, state: State, *, only_from: State | None = None) -> None:
        """Change the state; with `only_from` only if that is the state now."""
        with self._change:
            if state is not self.state and only_from in {None, self.state}:
                self.state, self.since = state, time.time()
            self._change.notify_all()

    def changed(self) -> None:
        """Wake those who wait, after something else than the state has changed."""
        with self._change:
            self._change.notify_all()

    def wait(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `condition` holds; False after `timeout` seconds."""
        with self._change:
            return self._change.wait_for(condition, timeout)
