"""Processor time of a farm's processes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping


def seconds_of(pids: Mapping[str, int]) -> dict[str, float]:
    """What each process and its children have used so far, in seconds; those that are gone are left out."""
    used: dict[str, float] = {}
    for name, pid in pids.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            used[name] = sum(sum(one.cpu_times()[:2]) for one in family)
    return used
