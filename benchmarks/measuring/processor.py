"""Processor time of processes and all that they have started."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def spent_s(pids: Iterable[int]) -> float:
    """Seconds that these processes and their children have used so far; those that are gone count nothing."""
    found = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            one = psutil.Process(pid)
            for process in (one, *one.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    found += times.user + times.system
    return found


def seconds_of(pids: Mapping[str, int]) -> dict[str, float]:
    """The same by name; those that are gone are left out."""
    return {name: spent_s([pid]) for name, pid in pids.items() if psutil.pid_exists(pid)}
