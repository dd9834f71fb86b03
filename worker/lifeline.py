"""A process that must not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Asks the kernel to kill this process when its parent ends, however the parent ends.

    Linux only; elsewhere the lease is what limits an orphan. Called by the child about itself, after
    any change of uid, which would clear it.

    Args:
        parent_pid: the parent as it was at the fork; if it is gone already, this process exits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise SystemExit("the parent ended before its child had started")
