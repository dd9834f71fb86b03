"""What really happened, written down outside of the system: one JSON line for each thing, append only."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from pathlib import Path


class Truth:
    """The log of one run. Safe to write from any thread.

    Kinds: `plan` (a submission that will be made), `submit` and `cancel` (with the answer), `fault` (begin)
    and `fault_over`, `start` (of a process), `phase`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.time()
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: object) -> None:
        """Adds a line; it is in the file when this returns."""
        line = json.dumps({"t": round(time.time(), 4), "kind": kind, **fields}, default=str)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    def read(self, *kinds: str) -> list[dict[str, Any]]:
        """The lines of these kinds, in order."""
        return [line for line in read_lines(self.path) if line["kind"] in kinds]

    def close(self) -> None:
        """Ends the log."""
        self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a JSONL file; a process that was killed may have left half of one at the end."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
