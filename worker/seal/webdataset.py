"""WebDataset: a tar in which the files of a sample follow each other and share their name up to the dot."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from worker.seal.row import compact, row_of

if TYPE_CHECKING:
    from worker.seal.piece import Piece
    from worker.seal.stream import Counted


class TarWriter:
    """Writes `KEY.png`, `KEY.json` (the row) and `KEY.txt` (the caption) for each piece."""

    def __init__(self, out: Counted) -> None:
        # As a stream: no seeking back, and no block that depends on what the file can do.
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT)  # type: ignore[call-overload]  # noqa: SIM115 - closed by `close`; typeshed wants a whole file

    def add(self, piece: Piece) -> None:
        """Write a piece."""
        self._file(piece.file_name, piece.image)
        self._file(f"{piece.key}.json", compact(row_of(piece)).encode())
        self._file(f"{piece.key}.txt", piece.caption.encode())

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _file(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)  # owner, group and time are 0, unless told otherwise
        entry.size = len(data)
        entry.mode = 0o644
        self._tar.addfile(entry, io.BytesIO(data))
