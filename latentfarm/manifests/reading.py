"""Which reader a manifest needs, and its rows."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast, get_args

from latentfarm.errors import InvalidInput
from latentfarm.manifests.csv_rows import read_csv
from latentfarm.manifests.json_rows import read_jsonl, read_text
from latentfarm.manifests.lines import read_lines
from latentfarm.manifests.parquet_rows import read_parquet
from latentfarm.manifests.request import Format
from latentfarm.manifests.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from latentfarm.manifests.request import ManifestSource

_ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
}


def format_of(name: str, given: Format | None = None) -> Format:
    """The format of a manifest: as it is given, else as the ending of its name says.

    Raises:
        InvalidInput: neither tells.
    """
    found = given or _ENDINGS.get(PurePosixPath(name).suffix.lower())
    if found is None:
        raise InvalidInput("format", f"{name[-64:]!r} does not tell it", ", ".join(get_args(Format)))
    return found


def read_rows(form: Format, source: Iterable[bytes] | BinaryIO) -> Iterator[Row]:
    """The rows of a manifest, one at a time.

    Args:
        source: for Parquet a file that can seek; else chunks of any size, or a file.

    Raises:
        ManifestError: while iterating, where the file as a whole cannot be read. A row that cannot be read
            carries its error.
    """
    if form == "parquet":
        if not hasattr(source, "seek"):
            raise TypeError("Parquet is read from a file that can seek")
        return read_parquet(cast("BinaryIO", source))
    lines = read_lines(source)
    if form == "csv":
        return read_csv(lines)
    return read_jsonl(lines) if form == "jsonl" else read_text(lines)


def inline_rows(manifest: ManifestSource) -> Iterator[Row]:
    """The rows that a request brings along; none where it names a file."""
    if manifest.prompts is not None:
        return (Row(number, {"prompt": text}) for number, text in enumerate(manifest.prompts, start=1))
    return (Row(number, dict(fields)) for number, fields in enumerate(manifest.rows or (), start=1))
