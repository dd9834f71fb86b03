"""Files of a dataset through their links: brought to a folder, or read again and compared."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import httpx

from latentfarm.errors import LatentfarmError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from latentfarm.client_datasets import Datasets
    from latentfarm.dataset_views import FileView, ShardView

CHUNK = 1 << 20
"""Bytes of a file that are in memory at once."""
JOBS = 4
"""Files that come at once. One connection rarely fills the way to an object store, and small files wait for answers."""


@dataclass
class Pulled:
    """What became of the files.

    Attributes:
        kept: that were there already.
        brought: paths of those that came.
        wrong: paths of those that did not come as they were made.
    """

    kept: int = 0
    brought: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def fetched(self) -> int:
        """How many came."""
        return len(self.brought)


class Reader:
    """Reads files of one dataset, of any number of threads.

    Args:
        tell: called with the bytes that have come; below 0 where a file is read once more.
    """

    def __init__(self, datasets: Datasets, name: str, tell: Callable[[int], None]) -> None:
        self._datasets = datasets
        self._name = name
        self._given = tell
        self._telling = threading.Lock()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends what is being read, after a chunk of it."""
        self._stopping.set()

    def tell(self, number: int) -> None:
        """So many bytes have come.

        Raises:
            LatentfarmError: nobody waits for them any more.
        """
        if self._stopping.is_set():
            raise LatentfarmError("stopped while a file was read")
        with self._telling:
            self._given(number)

    def read(self, shard: ShardView, file: FileView, into: BinaryIO) -> str | None:
        """Writes a file's bytes, and returns their SHA-256 in hexadecimal; None when the file is not there.

        Raises:
            ServiceUnavailable: the object store was away for `retry_s`.
        """
        link, where = file.url, httpx.URL(file.url).copy_with(query=None)
        for last_try in self._datasets.http.tries():
            into.seek(0)
            into.truncate()
            try:
                return self._once(link, into)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                self.tell(-into.tell())
                if last_try:
                    raise ServiceUnavailable(f"no file from the object store at {where}: {error}") from error
            link = self._fresh(shard, file)
        raise AssertionError("unreachable")

    def _once(self, link: str, into: BinaryIO) -> str | None:
        digest = hashlib.sha256()
        with httpx.stream("GET", link, timeout=self._datasets.http.client.timeout) as answer:
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            answer.raise_for_status()
            for chunk in answer.iter_bytes(CHUNK):
                into.write(chunk)
                digest.update(chunk)
                self.tell(len(chunk))
        return digest.hexdigest()

    def _fresh(self, shard: ShardView, file: FileView) -> str:
        """Links are good for some minutes, and files may be large."""
        before = f"{shard.number}.{shard.part - 1}" if shard.part else f"{shard.number - 1}.9999"
        again = next(self._datasets.shards(self._name, after=before if shard.number >= 0 else None), None)
        found = [one.url for one in again.files if one.path == file.path] if again else []
        return found[0] if found else file.url


def pull(
    datasets: Datasets, name: str, folder: Path, tell: Callable[[int], None], *, jobs: int = JOBS
) -> Pulled:
    """Brings what is sealed of a dataset to a folder. Files that are there already are left alone.

    Whatever ends it, Ctrl-C too, leaves whole files, and others by names that end in `.part`.

    Args:
        jobs: files that come at once, each through a connection of its own.

    Raises:
        LatentfarmError: a path leads out of the folder, or the farm was away.
    """
    pulled, reader = Pulled(), Reader(datasets, name, tell)
    files = ((shard, file) for shard in datasets.shards(name) for file in shard.files)

    def bring(shard: ShardView, file: FileView) -> bool | None:
        path = place(folder, file.path)
        if is_there(path, file):
            reader.tell(file.size)
            return None
        return _fetch(reader, shard, file, path)

    with _threads(jobs, reader) as pool:
        waiting: deque[tuple[FileView, Future[bool | None]]] = deque()
        for shard, file in files:
            waiting.append((file, pool.submit(bring, shard, file)))
            # Not far ahead: links are good for some minutes only.
            if len(waiting) > 2 * jobs:
                _count(pulled, *waiting.popleft())
        for file, brought in waiting:
            _count(pulled, file, brought)
    return pulled


@contextmanager
def _threads(jobs: int, reader: Reader) -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the block, however it ends."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="pull")
    try:
        yield pool
    finally:
        reader.stop()  # all were waited for, or none is waited for any more
        pool.shutdown(cancel_futures=True)


def _count(pulled: Pulled, file: FileView, brought: Future[bool | None]) -> None:
    match brought.result():
        case None:
            pulled.kept += 1
        case True:
            pulled.brought.append(file.path)
        case False:
            pulled.wrong.append(file.path)


def place(folder: Path, path: str) -> Path:
    """Where a file of a dataset belongs below a folder.

    Raises:
        LatentfarmError: it would lead out of it.
    """
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path.startswith("/")
        or ".." in parts
        or any("\\" in part or ":" in part for part in parts)
    ):
        raise LatentfarmError(f"the farm names a file {path!r}, which leads out of the folder")
    return folder.joinpath(*parts)


def is_there(path: Path, file: FileView) -> bool:
    """Whether a file is there with the right bytes."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as found:
        return hashlib.file_digest(found, "sha256").hexdigest() == file.sha256


def _fetch(reader: Reader, shard: ShardView, file: FileView, path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whoever watches the folder sees whole files only.
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as into:
        right = reader.read(shard, file, into) == file.sha256
    if right:
        part.replace(path)
    else:
        part.unlink()
    return right
