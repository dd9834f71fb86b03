"""Traps for processes: set by a trial at a named point, sprung once by whoever comes there first, and deadly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "CHAOS_TRAPS"


class Traps:
    """A folder that both sides know: `<point>.set`, and one `*.sprung` for each death."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def lay(self, point: str) -> None:
        """The next process at this point dies there."""
        (self._folder / f"{point}.set").touch()

    def lift(self, point: str) -> bool:
        """Takes a trap away; False: it was sprung already."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / f"{point}.set").unlink()
            return True
        return False

    def spring(self, point: str, **told: object) -> None:
        """Kills this process if a trap lies at the point; to be called by whoever is there.

        The rename is what only one process, and one thread of it, can do.
        """
        mark = self._folder / f"{point}-{os.getpid()}-{time.time_ns()}"
        with self._lock:  # Never let go of by a thread that dies: the others do nothing more.
            try:
                (self._folder / f"{point}.set").rename(mark)
            except FileNotFoundError:
                return
            line = {"point": point, "t": round(time.time(), 4), "pid": os.getpid(), **told}
            mark.write_text(json.dumps(line))
            mark.rename(mark.with_name(f"{mark.name}.sprung"))
            os.kill(os.getpid(), signal.SIGKILL)

    def sprung(self) -> dict[str, dict[str, Any]]:
        """Every death so far, by the name of its file."""
        return {path.name: json.loads(path.read_text()) for path in sorted(self._folder.glob("*.sprung"))}
