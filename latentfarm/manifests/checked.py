"""What the first pass found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentfarm.manifests.sample import Sample
    from latentfarm.records import ObjectRef


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that were read, images that they give, and rows of these that were left out."""

    rows: int
    images: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the spool: `count` samples from ordinal `first` on."""

    number: int
    ref: ObjectRef
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that was left out, and why."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Adapters:
    """What of a model's entry a manifest uses besides the model: names, sorted."""

    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A manifest without an error, and where its samples are.

    Attributes:
        digest: SHA-256 of all lines of the spool, uncompressed, in order: equal for equal samples.
        first: the first samples, expanded, for people to look at.
        duplicates: images that are asked for again: of an earlier one's picture and seed.
        skipped: the first rows that were left out; `counts.skipped` counts them all.
        megapixel_steps: of all images: pixels / 1,000,000 x UNet evaluations, base and refiner.
        megapixels: of all images.
        models: that the rows name, each with the adapters used of it.
    """

    counts: Counts
    parts: tuple[Part, ...]
    digest: bytes
    first: tuple[Sample, ...]
    duplicates: int
    skipped: tuple[Skipped, ...]
    megapixel_steps: float
    megapixels: float
    models: dict[str, Adapters]
