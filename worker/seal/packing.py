"""Pieces -> the two files of a shard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, Protocol

from worker.seal.embedded import ParquetWriter
from worker.seal.imagefolder import FolderWriter
from worker.seal.index import IndexWriter
from worker.seal.shard import Layout, Sealed
from worker.seal.stream import Counted
from worker.seal.webdataset import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.seal.piece import Piece
    from worker.seal.shard import Shard


class Writer(Protocol):
    """Takes the pieces of one shard in the order of ordinals."""

    def add(self, piece: Piece) -> None:
        """Take a piece; it need not be written yet."""

    def close(self) -> None:
        """Write all that is still to be written."""


WRITERS: dict[Layout, Callable[[Counted], Writer]] = {
    Layout.WEBDATASET: TarWriter,
    Layout.IMAGEFOLDER: FolderWriter,
    Layout.PARQUET: ParquetWriter,
}


def pack(shard: Shard, pieces: Iterable[Piece], data: BinaryIO, index: BinaryIO) -> Sealed:
    """Write a shard: the same pieces give the same bytes, with the same versions of the libraries.

    In `data` these are the same whoever made the images and when; the index tells of that too.

    Args:
        shard: which one, and its layout.
        pieces: in the order of ordinals. One at a time is in memory (Parquet: a row group, 32 MiB at most).
        data: takes the samples. Only `write` is called, so it may be a pipe or an upload.
        index: takes the rows without images, likewise.

    Returns:
        What was written; its `stats(left_out)` is the completion mark, to be stored after both files.

    Raises:
        ValueError: ordinals do not rise.
    """
    files = Counted(data), Counted(index)
    writers = WRITERS[shard.layout](files[0]), IndexWriter(files[1], shard)
    tally = _Tally()
    try:
        for piece in pieces:
            tally.add(piece)
            for writer in writers:
                writer.add(piece)
        for writer in writers:
            writer.close()
    except BaseException:
        for out in files:
            out.cut()
        raise
    return tally.sealed(shard, files)


class _Tally:
    """Counts what a shard holds."""

    def __init__(self) -> None:
        self._ordinals: list[int] = []
        self._bytes = 0
        self._marked = Counter[str]()
        self._redrawn = 0
        self._reasons = Counter[str]()

    def add(self, piece: Piece) -> None:
        if self._ordinals and piece.ordinal <= self._ordinals[-1]:
            raise ValueError(f"image {piece.ordinal} after image {self._ordinals[-1]}")
        self._ordinals.append(piece.ordinal)
        self._bytes += len(piece.image)
        self._marked.update(piece.marks)
        self._redrawn += bool(piece.rejected)
        for one in piece.rejected:
            self._reasons.update(one["reasons"])

    def sealed(self, shard: Shard, files: tuple[Counted, Counted]) -> Sealed:
        paths = shard.data_path, shard.index_path
        return Sealed(
            shard=shard,
            images=len(self._ordinals),
            image_bytes=self._bytes,
            ordinals=tuple(self._ordinals),
            marked=dict(sorted(self._marked.items())),
            redrawn=self._redrawn,
            redrawn_for=dict(sorted(self._reasons.items())),
            files=tuple(out.as_file(path) for out, path in zip(files, paths, strict=True)),
        )
