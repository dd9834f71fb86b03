"""The samples of a shard: one file, or one after the other where they have too many bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

from worker.seal.embedded import ParquetWriter
from worker.seal.imagefolder import FolderWriter
from worker.seal.row import compact
from worker.seal.shard import Layout
from worker.seal.stream import Counted
from worker.seal.webdataset import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.seal.piece import Piece
    from worker.seal.shard import Shard, ShardFile

BESIDE = 4_096
"""Bytes of a sample besides its image and its texts: headers, padding, and what every row has."""


class Writer(Protocol):
    """Takes the pieces of one file in the order of ordinals."""

    def add(self, piece: Piece) -> None:
        """Take a piece; it need not be written yet."""

    def close(self) -> None:
        """Write all that is still to be written."""


WRITERS: dict[Layout, Callable[[Counted], Writer]] = {
    Layout.WEBDATASET: TarWriter,
    Layout.IMAGEFOLDER: FolderWriter,
    Layout.PARQUET: ParquetWriter,
}


class Cutter:
    """Where a file ends depends on the pieces alone, never on what was written: the same ones give the same files.

    Args:
        most_bytes: of a file, about; None: as many as there are.
        further: gives the next file.
    """

    def __init__(
        self,
        shard: Shard,
        data: BinaryIO,
        most_bytes: int | None = None,
        further: Callable[[], BinaryIO] | None = None,
    ) -> None:
        self._shard = shard
        self._most = most_bytes
        self._further = further
        self._outs: list[Counted] = []
        self._used = 0
        self._writer = self._begin(data)

    def add(self, piece: Piece) -> str:
        """Write a piece; returns the path of its file."""
        size = bytes_of(piece)
        is_full = self._most is not None and self._used > max(0, self._most - size)
        if is_full and self._further is not None:
            self._writer.close()
            self._writer = self._begin(self._further())
            self._used = 0
        self._used += size
        self._writer.add(piece)
        return self._shard.data_path_of(len(self._outs) - 1)

    def close(self) -> None:
        """Write the rest of the last file."""
        self._writer.close()

    def cut(self) -> None:
        """See `Counted.cut`."""
        for out in self._outs:
            out.cut()

    def files(self) -> list[ShardFile]:
        """What was written, in order."""
        return [out.as_file(self._shard.data_path_of(number)) for number, out in enumerate(self._outs)]

    def _begin(self, data: BinaryIO) -> Writer:
        self._outs.append(Counted(data))
        return WRITERS[self._shard.layout](self._outs[-1])


def bytes_of(piece: Piece) -> int:
    """Of a sample in its shard, about, and rather too many."""
    texts = (
        len(piece.caption.encode()),
        len(compact(piece.picture).encode()),
        len(compact(piece.metadata).encode()),
    )
    return len(piece.image) + 2 * sum(texts) + BESIDE
