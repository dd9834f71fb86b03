"""What the top files of a dataset tell of the run that made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.seal.shard import Layout


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a run.

    Attributes:
        source: of its weights: a hub id or the name of a folder.
        revision: commit of the hub; empty for a folder.
        model_hash: as workers have recorded it, hex; several where the files have changed; empty where not known.
        refiner_hash: the same of its refiner; empty where it took no part.
        licence: as the Hub names it, such as `openrail++`; empty where not known.
    """

    name: str
    source: str = ""
    revision: str = ""
    model_hash: str = ""
    licence: str = ""
    refiner_hash: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over.

    Attributes:
        name: of the dataset, as the user named it.
        seed: of the run; image n has the seed `(seed + n) mod 2^53` unless its row has its own.
        fingerprint: SHA-256 of what makes the pictures, hex.
        digest: SHA-256 of all samples of the manifest, hex.
        images: that the manifest asks for.
        settings: what all images share, by name, such as `num_inference_steps`; told in the card.
    """

    name: str
    layout: Layout
    seed: int
    fingerprint: str
    digest: str
    images: int
    shard_samples: int
    models: tuple[Model, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
