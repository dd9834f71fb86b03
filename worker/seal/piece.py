"""One finished image on its way into a shard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.seal.quality import Quality

EXTENSIONS = {"png": "png", "webp": "webp", "jpeg": "jpg"}
"""Endings of the files, by `output.format`; stock readers of WebDataset know `jpg` best."""


@dataclass(frozen=True, slots=True)
class Facts:
    """How an image came about. Differs from run to run, so that all but the hashes stay beside the samples.

    Attributes:
        worker: name of the incarnation that made the last stage.
        device: as provenance has it, such as `NVIDIA H100 80GB HBM3`.
        model_hash: of the base, or of the refiner where that worked alone; hex, empty where not known.
        refiner_hash: of the refiner where one took part; hex, else empty.
        versions: of the libraries, as provenance has them.
        started_at: of the first claim; with a time zone.
        finished_at: of the image; with a time zone.
        seconds: on a device, all stages.
        starts: claims of any stage, 1 or more.
        non_finite: whether a try ended in NaN or infinity.
    """

    worker: str = ""
    device: str = ""
    model_hash: str = ""
    refiner_hash: str = ""
    versions: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    starts: int = 1
    non_finite: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A sample of a dataset with its image.

    Attributes:
        ordinal: of the image in the whole run, 0 to 10^9 - 1.
        id: the user's own, or made from the ordinal. Data, never part of a name.
        image: the file's bytes as they came from the worker; they are packed as they are.
        sha256: of `image`, hex.
        format: `png`, `webp` or `jpeg`.
        picture: the stored part of the spec, see `RenderSpec.picture`.
        seed: of this image.
        metadata: the user's own.
        quality: what `measure` found; None where the image was not measured.
        duplicate_of: ordinal of an image of the run that looks the same.
        scores: what a scorer added, by name.
        rejected: `seed` and `reasons` of each image that stood here before, and was found wanting.
        exhausted: it is wanting still, and no further seed is tried.
    """

    ordinal: int
    id: str
    image: bytes
    sha256: str
    format: str
    picture: Mapping[str, Any]
    seed: int
    facts: Facts = field(default_factory=Facts)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    quality: Quality | None = None
    duplicate_of: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    rejected: Sequence[Mapping[str, Any]] = ()
    exhausted: bool = False

    @property
    def key(self) -> str:
        """Name of the sample in its shard: nine digits, no dots."""
        return f"{self.ordinal:09d}"

    @property
    def file_name(self) -> str:
        """Name of the image in its shard."""
        return f"{self.key}.{EXTENSIONS[self.format]}"

    @property
    def caption(self) -> str:
        """What the image should show."""
        return str(self.picture["prompt"])

    @property
    def marks(self) -> tuple[str, ...]:
        """What is odd about it: of `uniform`, `dark`, `duplicate`, `non_finite` and `exhausted`."""
        quality = self.quality
        found = {
            "uniform": quality is not None and quality.uniform,
            "dark": quality is not None and quality.dark,
            "duplicate": self.duplicate_of is not None,
            "non_finite": self.facts.non_finite,
            "exhausted": self.exhausted,
        }
        return tuple(name for name, odd in found.items() if odd)
