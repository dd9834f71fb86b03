"""Copies the engine's beat into the shared bytes that the parent watches, and says how long a step may take."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.engine.order import Engine
    from worker.heartbeat import Heartbeat

PULSE_S = 0.1
SLOW = 5.0
"""A step that takes so many times the rolling median counts as stalled."""
WINDOW = 101


class Pulse(threading.Thread):
    """Runs beside the engine. When the render loop hangs, the beat stops, whatever this thread does.

    Args:
        least_s: least seconds without a beat before the child counts as stalled.
        broken: called once when the engine says that its device is not to be trusted any more.
    """

    def __init__(
        self, engine: Engine, heartbeat: Heartbeat, *, least_s: float, broken: Callable[[], None]
    ) -> None:
        super().__init__(name="pulse", daemon=True)
        self._engine = engine
        self._heartbeat = heartbeat
        self._least_s = least_s
        self._broken = broken
        self._steps_s: deque[float] = deque(maxlen=WINDOW)
        self._seen = (0, 0.0)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopping.wait(PULSE_S):
            self._heartbeat.write(self._engine.counters.beat + 1, self.limit_s())
            if self._engine.broken is not None:
                self._broken()
                return

    def limit_s(self) -> float:
        """Seconds for which the beat may stand still: 5x the rolling median of a step."""
        forwards, busy_s = self._engine.counters.forwards, self._engine.counters.busy_s
        if forwards > self._seen[0]:
            self._steps_s.append((busy_s - self._seen[1]) / (forwards - self._seen[0]))
            self._seen = (forwards, busy_s)
        median_s = statistics.median(self._steps_s) if self._steps_s else 0.0
        return max(self._least_s, SLOW * median_s)

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
