"""Reads a Parquet manifest in a process that can be spared: the file on stdin, a line of JSON for each row on stdout.

A page of a few bytes may swell to gigabytes, and whoever wrote the file also wrote the sizes that it tells. Run by path
and without the farm's packages. Lines: `{"columns"}` first; then `{"row"}` or `{"wrong"}` for each row; `{"end"}` last, or
`{"refused"}`. Any other end: it broke.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from typing import Any

BATCH = 100
BUFFER_BYTES = 1024**2


def limit(memory_bytes: int, cpu_s: int) -> None:
    """From here on: so much memory and time, and no file written."""
    limits = [
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ]
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))


def tell(**line: Any) -> None:
    """One line."""
    write(json.dumps(line, ensure_ascii=False).encode())


def write(line: bytes) -> None:
    """A line that is made already."""
    sys.stdout.buffer.write(line + b"\n")


def from_arrow(value: Any) -> Any:
    """A value of pyarrow as JSON would have it: whole floats are counts, and null members are absent.

    Raises:
        ValueError: JSON has no such values.
    """
    if isinstance(value, dict):
        return {name: from_arrow(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [from_arrow(entry) for entry in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not finite")
        return int(value) if value.is_integer() else value
    if not isinstance(value, str | int):
        raise ValueError(f"a {type(value).__name__}")  # noqa: TRY004 - of the value, not of the code
    return value


def tell_row(cells: dict[str, Any], line_bytes: int) -> None:
    """A row, or the cell that is wrong with it; null says nothing."""
    fields, name = {}, ""
    try:
        for name, value in cells.items():
            if value is not None:
                fields[name] = from_arrow(value)
    except ValueError as error:
        tell(wrong=[name, str(error)])
        return
    line = json.dumps({"row": fields}, ensure_ascii=False).encode()
    if len(line) > line_bytes:
        tell(wrong=["row", "the row is too long"])
    else:
        write(line)


def read(group_bytes: int, line_bytes: int) -> None:
    """All rows, a few at a time.

    Raises:
        ArrowException, OSError, ValueError, ...: what pyarrow raises of what is no Parquet.
    """
    import pyarrow.parquet as pq

    # Either default would hold the compressed bytes of a whole column of a row group.
    table = pq.ParquetFile(sys.stdin.buffer, pre_buffer=False, buffer_size=BUFFER_BYTES)
    tell(columns=table.schema_arrow.names)
    for index in range(table.metadata.num_row_groups):
        size = table.metadata.row_group(index).total_byte_size
        if size > group_bytes:
            tell(refused=f"row group {index} has {size} bytes")
            return
    for batch in table.iter_batches(BATCH, use_threads=False):
        for cells in batch.to_pylist(maps_as_pydicts="strict"):
            tell_row(cells, line_bytes)
    tell(end=True)


def main() -> None:
    """Arguments: bytes of memory, seconds of CPU, most bytes of a row group and of a row."""
    memory_bytes, cpu_s, group_bytes, line_bytes = map(int, sys.argv[1:5])
    import pyarrow as pa
    import pyarrow.parquet  # before there is a limit

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    limit(memory_bytes, cpu_s)
    try:
        read(group_bytes, line_bytes)
    except MemoryError:  # pyarrow's too
        tell(refused="takes too much memory to be read")
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes pyarrow raise
        tell(refused=f"cannot be read as Parquet: {str(error)[:200]}")


if __name__ == "__main__":
    main()
