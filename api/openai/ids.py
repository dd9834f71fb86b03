"""Ids as OpenAI's clients see them: `batch_<id of the dataset's job>`, `file-<id>`, `file-<batch>-output`, `file-<batch>-errors`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID

from latentfarm.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["", "output", "errors"]
_UUID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_FILE = re.compile(rf"file-{_UUID}(?:-(output|errors))?")
_BATCH = re.compile(rf"batch_{_UUID}")


class FileId(NamedTuple):
    """A file of a client, or with a `kind` one of the two files of a batch, whose id it is then."""

    id: UUID
    kind: Kind

    def __str__(self) -> str:
        return f"file-{self.id}" + (f"-{self.kind}" if self.kind else "")


def batch_text(batch_id: UUID) -> str:
    """The id of a batch."""
    return f"batch_{batch_id}"


def parse_file(text: str) -> FileId:
    """Reads the id of a file.

    Raises:
        NotFound: it is none, so there can be no such file.
    """
    found = _FILE.fullmatch(text)
    if found is None:
        raise no_file(text)
    return FileId(UUID(found[1]), found[2] or "")  # type: ignore[arg-type]  # as the pattern says


def parse_batch(text: str) -> UUID:
    """Reads the id of a batch.

    Raises:
        NotFound: it is none, so there can be no such batch.
    """
    found = _BATCH.fullmatch(text)
    if found is None:
        raise no_batch(text)
    return UUID(found[1])


def no_file(text: object) -> NotFound:
    """What whoever asks for another tenant's file is told too."""
    return NotFound(f"no file {_shown(text)}")


def no_batch(text: object) -> NotFound:
    """What whoever asks for another tenant's batch is told too."""
    return NotFound(f"no batch {_shown(text)}")


def _shown(text: object) -> str:
    return ascii(str(text)[:64])


def cursor(after: str | None, parse: Callable[[str], UUID], end: UUID) -> UUID:
    """Where a list goes on: behind that id; at its beginning when absent."""
    return end if after is None else parse(after)
