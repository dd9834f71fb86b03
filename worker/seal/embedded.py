"""Parquet with the images inside, as `datasets` writes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.seal.row import COLUMNS, row_of

if TYPE_CHECKING:
    from worker.seal.piece import Piece
    from worker.seal.stream import Counted

GROUP_ROWS = 100
GROUP_BYTES = 32 * 2**20
"""A row group is what must be in memory at once, here and in every reader."""


class ParquetWriter:
    """Writes row groups of `GROUP_ROWS` rows, or as many as fit into `GROUP_BYTES`."""

    def __init__(self, out: Counted) -> None:
        self._schema = _schema()
        self._writer = pq.ParquetWriter(
            pa.PythonFile(out, mode="w"),
            self._schema,
            compression=dict.fromkeys(COLUMNS, "ZSTD") | {"image.bytes": "NONE", "image.path": "NONE"},
            # Of bytes that are all different, dictionaries and extremes are a second copy at best.
            use_dictionary=["model", "model_hash", "negative_prompt", "sampler"],
            write_statistics=list(COLUMNS),
        )
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, piece: Piece) -> None:
        """Take a piece; write what is there if the row group is full with it."""
        self._rows.append({"image": {"bytes": piece.image, "path": piece.file_name}, **row_of(piece)})
        self._bytes += len(piece.image)
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write()

    def close(self) -> None:
        """Write the rest and the footer."""
        if self._rows:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._bytes = [], 0


def _schema() -> pa.Schema:
    """Without the features in its metadata the image would be read as a pair of bytes and a name."""
    features = {name: {"dtype": dtype, "_type": "Value"} for name, dtype in COLUMNS.items()}
    info = json.dumps({"info": {"features": {"image": {"_type": "Image"}, **features}}})
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [(name, pa.type_for_alias(dtype)) for name, dtype in COLUMNS.items()]
    return pa.schema([("image", image), *columns], metadata={"huggingface": info})
