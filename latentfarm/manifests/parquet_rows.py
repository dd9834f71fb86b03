"""Rows of a Parquet manifest, out of a process of its own; needs a file that can seek."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from latentfarm.errors import ManifestError
from latentfarm.manifests.csv_rows import check_header
from latentfarm.manifests.lines import MAX_LINE_BYTES
from latentfarm.manifests.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = Path(__file__).with_name("parquet_child.py")
MEMORY_BYTES = 1024**3
"""Of addresses, not of memory: libraries take a third of them. A file of usual row groups needs 200 MB."""
TIME_S = 3600
"""Of a core; ten million rows take a tenth of it."""
MAX_GROUP_BYTES = 256 * 1024**2
"""Of a row group, uncompressed: columns of one are decoded together, whatever the size of a batch."""
_ALLOWED = f"row groups of up to {MAX_GROUP_BYTES // 1024**2} MiB, uncompressed; values of up to 256 KiB"
_VALUES = "text, numbers, true, false; lists and structs of these"
# The system's allocator returns what is free, and takes no addresses ahead.
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}


def read_parquet(file: BinaryIO) -> Iterator[Row]:
    """A row for each row. Null says nothing: the run's default holds.

    Raises:
        ManifestError: no Parquet file, columns that are none of ours, or more memory needed than there is for it.
    """
    with _on_disk(file) as source, _reading(source) as lines:
        number = 0
        for told in _told(lines):
            if "columns" in told:
                check_header(told["columns"])
            elif "refused" in told:
                raise ManifestError("manifest", told["refused"], _ALLOWED)
            elif "end" in told:
                return
            else:
                number += 1
                yield _row(number, told)
    raise ManifestError("manifest", "cannot be read as Parquet in bounded memory and time", _ALLOWED)


@contextmanager
def _on_disk(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file at its beginning, where another process can read it."""
    file.seek(0)
    try:
        file.fileno()
    except (OSError, io.UnsupportedOperation):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield copy
    else:
        yield file


@contextmanager
def _reading(file: BinaryIO) -> Iterator[IO[bytes]]:
    """What the child says; it does not outlive the block."""
    numbers = MEMORY_BYTES, TIME_S, MAX_GROUP_BYTES, MAX_LINE_BYTES
    child = subprocess.Popen(
        [sys.executable, "-I", str(CHILD), *map(str, numbers)],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
    )
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    with child.stdout as lines:
        try:
            yield lines
        finally:
            child.kill()
            child.wait()


def _told(lines: IO[bytes]) -> Iterator[dict[str, Any]]:
    # A few more for what is around a row.
    while line := lines.readline(MAX_LINE_BYTES + 1024):
        if not line.endswith(b"\n"):
            return  # it broke in the middle
        told: dict[str, Any] = json.loads(line)
        yield told


def _row(number: int, told: dict[str, Any]) -> Row:
    if "row" in told:
        return Row(number, told["row"])
    name, message = told["wrong"]
    allowed = f"up to {MAX_LINE_BYTES // 1024} KiB" if name == "row" else _VALUES
    return Row(number, error=ManifestError(name, message, allowed, line=number))
