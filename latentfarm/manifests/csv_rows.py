"""Rows of a CSV manifest: a header, then a row per record, which may span lines inside of quotes."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.manifests.cells import from_text, known_columns
from latentfarm.manifests.lines import MAX_LINE_BYTES
from latentfarm.manifests.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from latentfarm.manifests.lines import Line


def read_csv(lines: Iterable[Line]) -> Iterator[Row]:
    """A row for each record. An empty cell says nothing: the run's default holds.

    Raises:
        ManifestError: no usable header; or a line that cannot be read, since nobody knows which record it
            belongs to.
    """
    source = _Source(lines)
    header: list[str] | None = None
    for line, record in _records(source):
        if not record:
            continue  # a blank line
        if header is None:
            check_header(record, line)
            header = record
        else:
            yield _row(header, line, record)


def check_header(names: Sequence[str], line: int | None = None) -> None:
    """Whether a table has the columns of a manifest, each once.

    Raises:
        ManifestError: names the column.
    """
    known = known_columns()
    for name in names:
        if name not in known:
            raise ManifestError(name[:64] or "header", "unknown column", ", ".join(sorted(known)), line=line)
        if names.count(name) > 1:
            raise ManifestError(name, "this column comes twice", "each column once", line=line)
    if "prompt" not in names:
        raise ManifestError("prompt", "there is no such column", "a header with `prompt`", line=line)


class _Source:
    """Lines for the csv module, which wants their ends back: inside of quotes they are text."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self.begun: int | None = None
        """Line where the record began that is being read."""
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line.error is not None:
            raise line.error
        if self.begun is None:
            self.begun, self._size = line.number, 0
        self._size += len(line.text) + 1
        if self._size > MAX_LINE_BYTES:
            raise ManifestError("row", "the record is too long: a quote may be open", line=self.begun)
        return line.text + "\n"


def _records(source: _Source) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it begins at."""
    reader = csv.reader(source, strict=True)
    while True:
        source.begun = None
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ManifestError(
                "row", f"no CSV: {error}", "quotes as in RFC 4180", line=source.begun
            ) from error
        yield source.begun or 1, record


def _row(header: list[str], line: int, record: list[str]) -> Row:
    if len(record) != len(header):
        message = f"{len(record)} cells under a header of {len(header)}"
        return Row(line, error=ManifestError("row", message, f"{len(header)} cells", line=line))
    fields: dict[str, Any] = {}
    try:
        for name, cell in zip(header, record, strict=True):
            if cell:
                fields[name] = from_text(name, cell)
    except InvalidInput as error:
        return Row(line, error=ManifestError.at(line, error))
    return Row(line, fields)
