"""Rows of a Parquet manifest, a batch at a time; needs a file that can seek."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from latentfarm.errors import ManifestError
from latentfarm.manifests.cells import from_arrow
from latentfarm.manifests.csv_rows import check_header
from latentfarm.manifests.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH = 1_000
_BUFFER_BYTES = 1024**2
MAX_GROUP_BYTES = 256 * 1024**2
"""Of a row group, uncompressed: columns of one are decoded together, whatever the size of a batch."""


def read_parquet(file: BinaryIO) -> Iterator[Row]:
    """A row for each row. Null says nothing: the run's default holds.

    Raises:
        ManifestError: no Parquet file, columns that are none of ours, or row groups too large to decode.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Either default would hold the compressed bytes of a whole column of a row group.
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        check_header(table.schema_arrow.names)
        _check_groups(table.metadata)
        number = 0
        for batch in table.iter_batches(_BATCH, use_threads=False):
            for fields in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield _row(number, fields)
    except (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError, KeyError) as error:
        raise ManifestError("manifest", f"cannot be read as Parquet: {str(error)[:200]}") from error


def _check_groups(metadata: Any) -> None:
    for index in range(metadata.num_row_groups):
        size = metadata.row_group(index).total_byte_size
        if size > MAX_GROUP_BYTES:
            allowed = f"row groups of up to {MAX_GROUP_BYTES // 1024**2} MiB, uncompressed"
            raise ManifestError("manifest", f"row group {index} has {size} bytes", allowed)


def _row(number: int, cells: dict[str, Any]) -> Row:
    fields: dict[str, Any] = {}
    for name, value in cells.items():
        try:
            if value is not None:
                fields[name] = from_arrow(value)
        except ValueError as error:
            allowed = "text, numbers, true, false; lists and structs of these"
            return Row(number, error=ManifestError(name, str(error), allowed, line=number))
    return Row(number, fields)
