"""What the small JSON files of a model's folder say that the registry does not. Reads no weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentfarm.noise import NoiseConfig
from latentfarm.samplers import SAMPLERS

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from latentfarm.samplers import Family


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a spec is checked against besides the registry's entry.

    Attributes:
        noise: of the model's scheduler; SDXL's where the files are not here; None where the
            config has settings whose timesteps only diffusers can tell.
        family: of samplers that the model was trained for.
        encoder_layers: of the shallowest text encoder that the stages use; None: not known here.
        unet_channels: that the base's UNet takes: 4, or 9 where it is made for inpainting.
    """

    noise: NoiseConfig | None
    family: Family
    encoder_layers: int | None
    unet_channels: int = 4


def facts_of(entry: ModelEntry) -> ModelFacts:
    """The facts of a model, read once per process."""
    folders = {
        part: str(place.config_folder)
        for part, place in entry.places.items()
        if part in {"base", "refiner"} and place.config_folder.is_dir()
    }
    default = SAMPLERS.get(entry.sampler)
    return _read(folders.get("base"), tuple(folders.values()), default.family if default else "discrete")


@lru_cache(maxsize=64)
def _read(base: str | None, folders: tuple[str, ...], family: Family) -> ModelFacts:
    schedulers = [_json(Path(folder) / "scheduler" / "scheduler_config.json") for folder in folders]
    layers = [
        config["num_hidden_layers"]
        for folder in folders
        for encoder in ("text_encoder", "text_encoder_2")
        if (config := _json(Path(folder) / encoder / "config.json")) is not None
        and isinstance(config.get("num_hidden_layers"), int)
    ]
    first = schedulers[0] if schedulers else None
    if first is not None:
        family = "edm" if str(first.get("_class_name")).startswith("EDM") else "discrete"
    unet = (_json(Path(base) / "unet" / "config.json") if base else None) or {}
    noise = NoiseConfig() if first is None else NoiseConfig.read(first)
    return ModelFacts(
        noise=None if family == "edm" else noise,
        family=family,
        encoder_layers=min(layers, default=None),
        unet_channels=int(unet.get("in_channels", 4)),
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None  # not on this machine: the worker, which has the files, is the backstop
    return found if isinstance(found, dict) else None
