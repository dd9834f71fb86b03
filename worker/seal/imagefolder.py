"""A folder of images with `metadata.jsonl`, as a zip: a shard stays one object, and stock readers open it."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from typing import TYPE_CHECKING

from worker.seal.row import row_of

if TYPE_CHECKING:
    from worker.seal.piece import Piece
    from worker.seal.stream import Counted

METADATA = "metadata.jsonl"
_IN_MEMORY = 8 * 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip can tell."""


class FolderWriter:
    """Writes the images as they come, uncompressed, and their rows at the end."""

    def __init__(self, out: Counted) -> None:
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_STORED)
        self._rows = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by `close`

    def add(self, piece: Piece) -> None:
        """Write the image of a piece; remember its row."""
        self._zip.writestr(_entry(piece.file_name), piece.image)
        row = {"file_name": piece.file_name, **row_of(piece)}
        # In ASCII: a line separator of Unicode inside a caption ends no line.
        self._rows.write(json.dumps(row).encode() + b"\n")

    def close(self) -> None:
        """Write the rows and the directory of the archive."""
        self._rows.seek(0)
        with self._zip.open(_entry(METADATA), "w", force_zip64=True) as out:
            shutil.copyfileobj(self._rows, out)
        self._rows.close()
        self._zip.close()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = 3  # Unix, wherever it is packed
    entry.external_attr = 0o644 << 16
    return entry
