"""What an earlier life of PostgreSQL may have left: processes, and a pid file that now lies.

Linux only, by /proc; elsewhere PostgreSQL's own checks stand alone.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

PATIENCE = 5.0  # seconds for an immediate shutdown


def clear(data: Path) -> None:
    """End PostgreSQL processes that still work in `data`, then drop a pid file that names none.

    A killed postmaster leaves backends that notice at their next wait, and until then no other may
    start. A pid file that survived names a pid which may be anyone's by now, in a container often one
    of ours: PostgreSQL then refuses to start although nobody is there.
    """
    if not Path("/proc/self/cwd").exists():
        return
    for number in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + PATIENCE
        for pid in at_work(data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while at_work(data) and time.monotonic() < deadline:
            time.sleep(0.02)
    if not at_work(data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def at_work(data: Path) -> list[int]:
    """Process ids of the PostgreSQL processes whose working folder is `data`."""
    try:
        home = data.stat()
    except FileNotFoundError:
        return []
    with os.scandir("/proc") as entries:
        return [int(it.name) for it in entries if it.name.isdigit() and _works_in(Path(it.path), home)]


def _works_in(process: Path, home: os.stat_result) -> bool:
    try:
        # Zombies have neither link, other users' processes are closed to us: both are not ours.
        if not os.path.samestat((process / "cwd").stat(), home):
            return False
        return (process / "exe").readlink().name.split(" ")[0] == "postgres"
    except OSError:
        return False
