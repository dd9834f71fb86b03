"""Every file of a dataset read again, and compared with what the farm and the dataset say of it."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
import zipfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from latentfarm.client_pull import Reader, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from latentfarm.client_datasets import Datasets
    from latentfarm.dataset_views import FileView, ShardView

    Open = Callable[[ShardView, FileView], AbstractContextManager[tuple[BinaryIO, str | None]]]

MANIFEST = "manifest.json"
IN_MEMORY = 64 * 1024 * 1024


@dataclass
class Verified:
    """What was read.

    Attributes:
        complete: whether the files at the top are there, which come last.
        troubles: what is not as it should be, each with the file's path.
    """

    files: int = 0
    images: int = 0
    complete: bool = False
    troubles: list[str] = field(default_factory=list)


def verify(datasets: Datasets, name: str, tell: Callable[[int], None]) -> Verified:
    """Reads all that is sealed of a dataset: sizes, digests, rows, and the dataset's own manifest."""
    reader = Reader(datasets, name, tell)

    @contextmanager
    def through_link(shard: ShardView, file: FileView) -> Iterator[tuple[BinaryIO, str | None]]:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
            into: Any = content  # a file in all but its type
            yield into, reader.read(shard, file, into)

    return _verify(datasets, name, through_link)


def verify_folder(datasets: Datasets, name: str, folder: Path, tell: Callable[[int], None]) -> Verified:
    """Reads all that is sealed of a dataset where it was pulled to. Asks the farm for nothing but the list.

    Raises:
        LatentfarmError: a path leads out of the folder, or the farm was away.
    """

    @contextmanager
    def of_folder(_: ShardView, file: FileView) -> Iterator[tuple[BinaryIO, str | None]]:
        path = place(folder, file.path)
        tell(file.size)
        if not path.is_file():
            with tempfile.TemporaryFile() as nothing:
                yield nothing, None
            return
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            content.seek(0, 2)
            yield content, digest

    return _verify(datasets, name, of_folder)


def _verify(datasets: Datasets, name: str, opened: Open) -> Verified:
    found = Verified()
    told: dict[str, tuple[int, str]] | None = None
    for shard in datasets.shards(name):
        if shard.number >= 0:
            found.images += shard.images
        rows = _Rows(shard)
        for file in shard.files:
            found.files += 1
            with opened(shard, file) as (content, digest):
                right = _check(file, content, digest, found)
                if right:
                    rows.add(file.path, content)
                if file.path == MANIFEST:
                    found.complete = True
                    told = _told(content, found) if right else None
                elif told is not None and (shard.number >= 0 or file.path in told):
                    _compare(file, told.pop(file.path, None), found)
        found.troubles += rows.troubles()
    found.troubles += [
        f"{path}: the manifest tells of it, and the farm does not" for path in sorted(told or ())
    ]
    return found


class _Rows:
    """Images in the files of a shard: its samples may be in several, its index is one."""

    def __init__(self, shard: ShardView) -> None:
        self._shard = shard
        self._counts: dict[str, tuple[str, int]] = {}
        self._whole: Counter[str] = Counter()

    def add(self, path: str, content: BinaryIO) -> None:
        """A file that is what it should be."""
        rows = rows_of(path, content) if self._shard.number >= 0 else None
        folder = path.partition("/")[0]
        self._whole[folder] += 1
        if rows is not None:
            first, before = self._counts.get(folder, (path, 0))
            self._counts[folder] = first, before + rows

    def troubles(self) -> list[str]:
        """Where all files of a kind were whole and have another number of images together."""
        asked = Counter(file.path.partition("/")[0] for file in self._shard.files)
        images = self._shard.images
        return [
            f"{path}: {rows} rows, and its shard has {images} images"
            for folder, (path, rows) in self._counts.items()
            if rows != images and self._whole[folder] == asked[folder]
        ]


def _check(file: FileView, content: BinaryIO, digest: str | None, found: Verified) -> bool:
    size = content.tell()
    if digest is None:
        found.troubles.append(f"{file.path}: is not there")
    elif digest != file.sha256 or size != file.size:
        found.troubles.append(f"{file.path}: {size} bytes of SHA-256 {digest}, not {file.sha256}")
    else:
        return True
    return False


def rows_of(path: str, content: BinaryIO) -> int | None:
    """Images that a file holds or tells of; None for a file that does neither."""
    content.seek(0)
    match PurePosixPath(path).suffix:
        case ".tar":
            with tarfile.open(fileobj=content, mode="r|") as archive:
                return sum(member.name.endswith(".json") for member in archive)
        case ".zip":
            with zipfile.ZipFile(content) as folder, folder.open("metadata.jsonl") as lines:
                return sum(1 for line in lines if line.strip())
        case ".parquet":
            import pyarrow.parquet

            return int(pyarrow.parquet.ParquetFile(content).metadata.num_rows)
        case _:
            return None


def _told(content: BinaryIO, found: Verified) -> dict[str, tuple[int, str]] | None:
    """Size and SHA-256 by path, as the manifest has them; None where it cannot be read."""
    content.seek(0)
    try:
        manifest = json.load(content)
        files = [file for shard in manifest["shards"] for file in shard["files"]]
        near = manifest.get("near_duplicates")  # an earlier release has written none
        files += [near["file"]] if near else []
        return {file["path"]: (file["size"], file["sha256"]) for file in files}
    except (ValueError, KeyError, TypeError):
        found.troubles.append(f"{MANIFEST}: cannot be read")
        return None


def _compare(file: FileView, told: tuple[int, str] | None, found: Verified) -> None:
    if told is None:
        found.troubles.append(f"{file.path}: the manifest does not tell of it")
    elif told != (file.size, file.sha256):
        found.troubles.append(f"{file.path}: the manifest tells of other bytes")
