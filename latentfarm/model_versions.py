"""A name for what an entry of the registry is: 64 hexadecimal digits, other ones when another picture may come of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry

_PARTS = ("base", "refiner", "vae", "unet", "base_configs", "refiner_configs", "vae_configs")
#: What a picture depends on where a request says nothing of it. Limits and speed are not among it.
_SETTINGS = (
    "revision", "refiner_revision", "vae_revision", "unet_revision", "variant", "dtype", "dtypes", "sampler",
    "timestep_spacing", "steps", "guidance_scale", "native_size",
)  # fmt: skip


def version_of(entry: ModelEntry) -> str:
    """SHA-256 over the parts and settings of an entry, the same in every checkout.

    It knows files by their names and commits only: weights that were exchanged under one name show in the `hashes` of
    `GET /v1/models`, which tell what workers have loaded.
    """
    told = entry.model_dump(mode="json", include={"name", *_SETTINGS})
    told |= {part: _short(getattr(entry, part)) for part in _PARTS}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _short(where: str | None) -> str | None:
    """A hub id as it is; of a path its last two parts, since what stands before differs from machine to machine."""
    return None if where is None else "/".join(Path(where).parts[-2:])
