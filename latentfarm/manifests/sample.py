"""One image of a dataset, as the first pass leaves it for the second."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One image that a manifest asks for, checked and complete.

    Attributes:
        ordinal: of the image in the run, counted from 0.
        id: the row's, with `-<k>` where a row gives several images; the ordinal in nine digits without one.
        seed: of this image, below 2^53.
        picture: canonical JSON of `RenderSpec.picture`, complete; equal texts are equal pictures.
        digest: SHA-256 of `picture`, 32 bytes, as `spec.digest` gives it.
        metadata: the user's own strings for this row.
        line: of the manifest, counted from 1; of Parquet and inline rows the row.
    """

    ordinal: int
    id: str
    seed: int
    picture: str
    digest: bytes
    line: int
    metadata: dict[str, str] = field(default_factory=dict)
