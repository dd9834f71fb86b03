"""Every file of a dataset read again, and compared with what the farm and the dataset say of it."""

from __future__ import annotations

import json
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from latentfarm.client_pull import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.client_datasets import Datasets
    from latentfarm.dataset_views import FileView, ShardView

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
    found, reader = Verified(), Reader(datasets, name, tell)
    told: dict[str, tuple[int, str]] = {}
    for shard in datasets.shards(name):
        if shard.number >= 0:
            found.images += shard.images
        for file in shard.files:
            found.files += 1
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
                into: Any = content  # a file in all but its type
                _check(reader, shard, file, into, found)
                if file.path == MANIFEST:
                    found.complete = True
                    told = _told(into, found)
                elif shard.number >= 0 and found.complete:
                    _compare(file, told.pop(file.path, None), found)
    found.troubles += [f"{path}: the manifest tells of it, and the farm does not" for path in sorted(told)]
    return found


def _check(reader: Reader, shard: ShardView, file: FileView, content: BinaryIO, found: Verified) -> None:
    digest = reader.read(shard, file, content)
    if digest is None:
        found.troubles.append(f"{file.path}: is not there")
    elif digest != file.sha256 or content.tell() != file.size:
        found.troubles.append(f"{file.path}: {content.tell()} bytes of SHA-256 {digest}, not {file.sha256}")
    elif (rows := rows_of(file.path, content)) not in (None, shard.images):
        found.troubles.append(f"{file.path}: {rows} rows, and its shard has {shard.images} images")


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


def _told(content: BinaryIO, found: Verified) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by path, as the manifest has them."""
    content.seek(0)
    try:
        manifest = json.load(content)
        return {
            file["path"]: (file["size"], file["sha256"])
            for shard in manifest["shards"]
            for file in shard["files"]
        }
    except (ValueError, KeyError, TypeError):
        found.troubles.append(f"{MANIFEST}: cannot be read")
        return {}


def _compare(file: FileView, told: tuple[int, str] | None, found: Verified) -> None:
    if told is None:
        found.troubles.append(f"{file.path}: the manifest does not tell of it")
    elif told != (file.size, file.sha256):
        found.troubles.append(f"{file.path}: the manifest tells of other bytes")
