"""A manifest on its way from this machine to the farm: as a stream, or as rows for a dry run."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from latentfarm.dataset_views import DatasetPlan, SkippedRow
from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.manifests.reading import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from latentfarm.manifests.request import Format
    from latentfarm.manifests.row import Row

MOST_ROWS = 10_000
MOST_BYTES = 1_000_000
ALLOWED = f"for a dry run up to {MOST_ROWS} rows and {MOST_BYTES} bytes; try the first ones of the file"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A manifest, or standard input for `-`, as a file that can seek.

    Raises:
        InvalidInput: it cannot be read.
    """
    if str(path) == "-":
        with tempfile.TemporaryFile() as piped:
            shutil.copyfileobj(sys.stdin.buffer, piped)
            piped.seek(0)
            yield piped
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidInput("manifest", f"cannot read {path}: {error.strerror}") from error
    with file:
        yield file


@dataclass(frozen=True, slots=True)
class LocalRows:
    """Rows that go with a request, where they stood, and those that nobody can read."""

    rows: tuple[dict[str, Any], ...]
    lines: tuple[int, ...]
    skipped: tuple[SkippedRow, ...]

    def at(self, error: ManifestError) -> ManifestError:
        """What the API says of a row, with the line of the file."""
        line = None if error.line is None else self.lines[error.line - 1]
        return ManifestError(error.field, error.message, error.allowed, line=line, code=error.code)

    def plan(self, told: DatasetPlan) -> DatasetPlan:
        """What the API found, with the lines of the file, and with the rows that did not get there."""
        skipped = [row.model_copy(update={"line": self.lines[row.line - 1]}) for row in told.skipped_rows]
        return told.model_copy(
            update={
                "rows": told.rows + len(self.skipped),
                "skipped": told.skipped + len(self.skipped),
                "skipped_rows": sorted([*skipped, *self.skipped], key=lambda row: row.line),
                "first": [
                    sample.model_copy(update={"line": self.lines[sample.line - 1]}) for sample in told.first
                ],
            }
        )


def local_rows(file: BinaryIO, form: Format, *, skip_invalid: bool) -> LocalRows:
    """The rows of a small manifest.

    Raises:
        ManifestError: a row cannot be read.
        InvalidInput: there are too many for one request.
    """
    if file.seek(0, 2) > MOST_BYTES:
        raise InvalidInput("manifest", "too large to be sent along", ALLOWED)
    file.seek(0)
    found = list(itertools.islice(read_rows(form, file), MOST_ROWS + 1))
    if len(found) > MOST_ROWS:
        raise InvalidInput("manifest", "too many rows to be sent along", ALLOWED)
    skipped = [_skipped(row, skip_invalid=skip_invalid) for row in found if row.error is not None]
    good = [row for row in found if row.error is None]
    return LocalRows(tuple(row.fields for row in good), tuple(row.line for row in good), tuple(skipped))


def _skipped(row: Row, *, skip_invalid: bool) -> SkippedRow:
    error = row.error
    if error is None or not skip_invalid:
        raise error or AssertionError("unreachable")
    return SkippedRow(line=row.line, field=error.field, message=error.message)
