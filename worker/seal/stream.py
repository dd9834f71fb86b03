"""A file that is only written to, and what went through it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from worker.seal.shard import ShardFile

if TYPE_CHECKING:
    from typing import BinaryIO


class Counted:
    """Passes bytes on to a file, counts and digests them. Never seeks.

    Has what tarfile, zipfile and pyarrow ask of a file.
    """

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self._size = 0
        self._cut = False

    def write(self, data: bytes) -> int:
        """Pass on."""
        if not self._cut:
            self._out.write(data)
        self._digest.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._size

    def seekable(self) -> bool:
        """Never: what a file can do must not change the bytes that zipfile writes."""
        return False

    def flush(self) -> None:
        """Nothing is kept back here."""

    def close(self) -> None:
        """The file belongs to the caller, who closes it."""

    def cut(self) -> None:
        """Nothing is passed on any more: writers that were never closed write once more when they are collected."""
        self._cut = True

    def as_file(self, path: str) -> ShardFile:
        """What was written."""
        return ShardFile(path, self._size, self._digest.hexdigest())
