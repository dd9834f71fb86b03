"""Images out of the shards of a dataset whose layout is `imagefolder`: one after the other, without fetching a shard."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.sets import ShardFiles
    from latentfarm.storage import S3Store

_END = 64 * 1024
_HEADER = struct.Struct("<4s22xHH")
"""What stands before a file in a zip: a mark, and how long its name and its further fields are."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An image in a shard: between `start` and `end` of an object, behind a header.

    Attributes:
        size: bytes of the image.
        crc: CRC-32 of these.
    """

    key: str
    start: int
    end: int
    size: int
    crc: int

    def read(self, store: S3Store) -> Iterator[bytes]:
        """The bytes of the image, in pieces.

        Raises:
            TransientError: the store does not answer, or what lies there is not what was packed.
        """
        pieces = store.stream(self.key, span=(self.start, self.end))
        head = b""
        while len(head) < _HEADER.size:
            head += next(pieces, b"") or self._ruined()
        mark, name, further = _HEADER.unpack_from(head)
        left, crc = self.size, 0
        skip = _HEADER.size + name + further
        if mark != b"PK\x03\x04":
            self._ruined()
        for piece in _from(head, pieces):
            found = piece[skip : skip + left]
            skip = max(0, skip - len(piece))
            left -= len(found)
            crc = zlib.crc32(found, crc)
            if found:
                yield found
        if left or crc != self.crc:
            self._ruined()

    def _ruined(self) -> bytes:
        raise TransientError(f"{self.key} does not hold the image at {self.start}")


class Shards:
    """The images of a dataset by ordinal. Holds the directory of one shard at a time, so ordinals are asked for in order.

    Args:
        sealed: sealed shards in order, each with its supplements behind it.
    """

    def __init__(self, store: S3Store, sealed: Iterator[ShardFiles]) -> None:
        self._store = store
        self._sealed = sealed
        self._next = next(sealed, None)
        self._images: dict[int, Packed] = {}

    def find(self, ordinal: int) -> Packed:
        """The image of an ordinal that is not lower than the one before.

        Raises:
            TransientError: no sealed shard holds it, or the store does not answer.
        """
        while ordinal not in self._images:
            if self._next is None:
                raise TransientError(f"image {ordinal} is in no shard")
            self._open(self._next.number)
        return self._images[ordinal]

    def _open(self, number: int) -> None:
        self._images = {}
        while self._next is not None and self._next.number == number:
            for file in self._next.files:
                if file["path"].endswith(".zip"):
                    self._images |= directory(self._store, file["key"], file["size"])
            self._next = next(self._sealed, None)


def directory(store: S3Store, key: str, size: int) -> dict[int, Packed]:
    """The images in a zip of `size` bytes, by ordinal.

    Raises:
        TransientError: the store does not answer, or it is no zip.
    """
    try:
        with zipfile.ZipFile(_Remote(store, key, size)) as archive:
            found = sorted(archive.infolist(), key=lambda one: one.header_offset)
            ends = [*(one.header_offset for one in found[1:]), archive.start_dir]
    except zipfile.BadZipFile as error:
        raise TransientError(f"{key}: {error}") from error
    return {
        int(one.filename.partition(".")[0]): Packed(key, one.header_offset, end, one.file_size, one.CRC)
        for one, end in zip(found, ends, strict=True)
        if one.filename[0].isdigit()
    }


class _Remote(io.RawIOBase):
    """An object as a file to read from; each read is a request, but for those of its end, where a zip has its directory."""

    def __init__(self, store: S3Store, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._at = 0
        self._end_from = max(0, size - _END)
        self._end = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants any buffer
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        data = self._read(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, start: int, end: int) -> bytes:
        if start < self._end_from:
            return b"".join(self._store.stream(self._key, span=(start, end)))
        if not self._end:
            self._end = b"".join(self._store.stream(self._key, span=(self._end_from, self._size)))
        return self._end[start - self._end_from : end - self._end_from]


def _from(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces
