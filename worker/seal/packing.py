"""Pieces -> the two files of a shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.seal.piece import Piece
    from worker.seal.shard import Sealed, Shard


def pack(shard: Shard, pieces: Iterable[Piece], data: BinaryIO, index: BinaryIO) -> Sealed:
    """Write a shard: the same pieces give the same bytes in `data`, whoever packs them and when.

    Args:
        shard: which one, and its layout.
        pieces: in the order of ordinals; taken one at a time, and let go of before the next but one
            (Parquet: kept until a row group is full, at most 64 MiB).
        data: takes the samples. Only `write` is called, so it may be a pipe or an upload.
        index: takes the rows without images, likewise.

    Returns:
        What was written; its `stats(left_out)` is the completion mark, to be stored after both files.

    Raises:
        ValueError: ordinals do not rise.
    """
    raise NotImplementedError(shard, pieces, data, index)
