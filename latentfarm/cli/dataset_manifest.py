"""A manifest on its way from this machine to the farm."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
