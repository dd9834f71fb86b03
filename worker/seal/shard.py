"""A shard: which one it is, the files that it consists of, and what became of its samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.seal.documents import document

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLIT = "train"


class Layout(StrEnum):
    """How the samples of a dataset are packed."""

    WEBDATASET = "webdataset"
    IMAGEFOLDER = "imagefolder"
    PARQUET = "parquet"

    @property
    def extension(self) -> str:
        """Ending of the file with the samples."""
        return {"webdataset": "tar", "imagefolder": "zip", "parquet": "parquet"}[self.value]


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a run.

    Attributes:
        number: 0 to 10^6 - 1; holds the ordinals from `number * shard_samples` on.
        part: 0; 1 and more for what was made after the shard was sealed.
    """

    layout: Layout
    number: int
    part: int = 0

    @property
    def name(self) -> str:
        """`000003`, or `000003-1` for its first supplement."""
        return f"{self.number:06d}" + (f"-{self.part}" if self.part else "")

    @property
    def data_path(self) -> str:
        """The samples, or the first of them."""
        return self.data_path_of(0)

    def data_path_of(self, number: int) -> str:
        """A file of the samples; the split's name in it is what stock readers go by.

        Args:
            number: 0; more where a shard has too many bytes for one file: `train-000003_001.tar`.
        """
        return (
            f"data/{SPLIT}-{self.name}" + (f"_{number:03d}" if number else "") + f".{self.layout.extension}"
        )

    @property
    def index_path(self) -> str:
        """The rows without the images. No split in its name: readers of the images pass it by."""
        return f"index/{self.name}.parquet"

    @property
    def stats_path(self) -> str:
        """The completion mark, written last."""
        return f"index/{self.name}_stats.json"


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file of a dataset: path below the dataset's folder, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sample that is not in its shard, and why.

    Attributes:
        outcome: `failed`, `cancelled` or `dropped`.
        reason: class of the failure, or what it was dropped for: `uniform`, `dark`, `non_finite`, `duplicate`.
    """

    ordinal: int
    id: str
    outcome: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A shard whose files are written.

    Attributes:
        images: that it holds.
        image_bytes: of their files, together.
        ordinals: of these images, rising.
        marked: images by mark: `uniform`, `dark`, `duplicate`, `non_finite`, `exhausted`.
        redrawn: images that do not have their first seed, since a check found others wanting.
        redrawn_for: the findings of all seeds before, by name.
        files: the samples, in one file or several, then the index.
    """

    shard: Shard
    images: int
    image_bytes: int
    ordinals: tuple[int, ...]
    marked: dict[str, int]
    redrawn: int
    redrawn_for: dict[str, int]
    files: tuple[ShardFile, ...]

    def stats(self, left_out: Iterable[LeftOut] = ()) -> bytes:
        """The JSON of the completion mark; `left_out` in the order of ordinals."""
        missing = sorted(left_out, key=lambda one: one.ordinal)
        return document(
            {
                "shard": self.shard.name,
                "layout": self.shard.layout,
                "number": self.shard.number,
                "part": self.shard.part,
                "images": self.images,
                "image_bytes": self.image_bytes,
                "first": self.ordinals[0] if self.ordinals else None,
                "last": self.ordinals[-1] if self.ordinals else None,
                # A supplement has gaps, and says which of the missing ones it brings.
                "ordinals": list(self.ordinals) if self.shard.part else None,
                "marked": self.marked,
                "redrawn": self.redrawn,
                "redrawn_for": self.redrawn_for,
                "left_out": dict(sorted(Counter(one.outcome for one in missing).items())),
                "files": self.files,
                "missing": missing,
            }
        )
