"""How much memory another process holds. Asks the system; imports nothing that would have to be installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def resident_bytes(pid: int) -> int | None:
    """Bytes of a process that are in memory; None when nobody can tell, or it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return _asked(pid)
    return pages * os.sysconf("SC_PAGE_SIZE")


def _asked(pid: int) -> int | None:
    """The same where there is no /proc, as on macOS."""
    try:
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        )
        return 1024 * int(told.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
