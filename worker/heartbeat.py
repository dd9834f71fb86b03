"""What the child tells its parent, through a few bytes of shared memory: that it lives, and how long to wait.

A file that both map. The parent needs no thread, pipe or lock to read it, and a child that hangs in a
kernel or in the interpreter stops writing it.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = struct.Struct("<Qd")
"""Beat (a counter), and the seconds for which it may stand still."""


class Heartbeat:
    """One side of the shared bytes. The child writes, the parent reads."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(_FORMAT.pack(0, 0.0))
        self._file = path.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), _FORMAT.size)

    def write(self, beat: int, limit_s: float) -> None:
        """The child is at `beat`, and will move on within `limit_s` seconds."""
        _FORMAT.pack_into(self._memory, 0, beat, limit_s)

    def read(self) -> tuple[int, float]:
        """(beat, limit in seconds) as last written."""
        beat, limit_s = _FORMAT.unpack_from(self._memory, 0)
        return beat, limit_s

    def close(self) -> None:
        """Unmaps the file; its owner deletes it."""
        self._memory.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stall:
    """Decides from beats and times whether a child has stalled."""

    def __init__(self, now: float) -> None:
        self._beat = -1
        self._since = now

    def is_stalled(self, beat: int, limit_s: float, now: float) -> bool:
        """Whether the beat has stood still for longer than `limit_s` seconds. `now` is monotonic."""
        if beat != self._beat:
            self._beat, self._since = beat, now
        return now - self._since > limit_s
