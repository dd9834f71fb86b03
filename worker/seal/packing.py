"""Pieces -> the files of a shard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, BinaryIO

from worker.seal.cutting import Cutter
from worker.seal.index import IndexWriter
from worker.seal.shard import Sealed
from worker.seal.stream import Counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.seal.piece import Piece
    from worker.seal.shard import Shard, ShardFile


def pack(
    shard: Shard,
    pieces: Iterable[Piece],
    data: BinaryIO,
    index: BinaryIO,
    *,
    most_bytes: int | None = None,
    further: Callable[[], BinaryIO] | None = None,
) -> Sealed:
    """Write a shard: the same pieces give the same bytes, with the same versions of the libraries.

    In `data` these are the same whoever made the images and when; the index tells of that too.

    Args:
        shard: which one, and its layout.
        pieces: in the order of ordinals. One at a time is in memory (Parquet: a row group, 32 MiB at most).
        data: takes the samples. Only `write` is called, so it may be a pipe or an upload.
        index: takes the rows without images, likewise.
        most_bytes: of one file of samples, about; one that has more alone gets a file of its own.
        further: gives the next file of samples, where `most_bytes` asks for one.

    Returns:
        What was written; its `stats(left_out)` is the completion mark, to be stored after all files.

    Raises:
        ValueError: ordinals do not rise.
    """
    samples, rows = Cutter(shard, data, most_bytes, further), Counted(index)
    writer, tally = IndexWriter(rows), _Tally()
    try:
        for piece in pieces:
            tally.add(piece)
            writer.add(piece, samples.add(piece))
        samples.close()
        writer.close()
    except BaseException:
        samples.cut()
        rows.cut()
        raise
    return tally.sealed(shard, [*samples.files(), rows.as_file(shard.index_path)])


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

    def sealed(self, shard: Shard, files: Sequence[ShardFile]) -> Sealed:
        return Sealed(
            shard=shard,
            images=len(self._ordinals),
            image_bytes=self._bytes,
            ordinals=tuple(self._ordinals),
            marked=dict(sorted(self._marked.items())),
            redrawn=self._redrawn,
            redrawn_for=dict(sorted(self._reasons.items())),
            files=tuple(files),
        )
