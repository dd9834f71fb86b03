"""Rows of a JSONL manifest: an object per line; and of a text manifest: a prompt per line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm import strict_json
from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.manifests.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from latentfarm.manifests.lines import Line


def read_jsonl(lines: Iterable[Line]) -> Iterator[Row]:
    """A row for each line that is not blank."""
    for line in lines:
        if line.error is not None:
            yield Row(line.number, error=line.error)
        elif line.text and not line.text.isspace():
            yield _row(line)


def read_text(lines: Iterable[Line]) -> Iterator[Row]:
    """A prompt for each line that is not blank, without the space around it."""
    for line in lines:
        if line.error is not None:
            yield Row(line.number, error=line.error)
        elif prompt := line.text.strip():
            yield Row(line.number, {"prompt": prompt})


def _row(line: Line) -> Row:
    try:
        fields = strict_json.loads(line.text.encode())
    except InvalidInput as error:
        return Row(line.number, error=_of_the_row(line.number, error))
    if not isinstance(fields, dict):
        return Row(line.number, error=ManifestError("row", "no object", "{...}", line=line.number))
    return Row(line.number, fields)


def _of_the_row(number: int, error: InvalidInput) -> ManifestError:
    """What strict JSON calls the body of a request is one line here."""
    field = "row" if error.field == "body" else error.field
    allowed = "one object of JSON" if error.field == "body" else error.allowed
    return ManifestError(field, error.message, allowed, line=number, code=error.code)
