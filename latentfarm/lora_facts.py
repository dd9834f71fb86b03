"""What a LoRA's file says about the model that it was made for. Reads the header, no weights."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.registry import ModelEntry

_DOWN = r"(lora_A|lora_down|lora\.down|lora_linear_layer\.down|_lora\.down)(\.\w+)?\.weight$"
_MOST_HEADER = 100_000_000
#: Component, the key in its config, and the layers whose input has that width.
_WIDTHS = (
    ("unet", "cross_attention_dim", re.compile(rf"^(lora_unet_|unet\.).*attn2[._].*to_[kv].*{_DOWN}")),
    ("text_encoder", "hidden_size", re.compile(rf"^(lora_te1?_|text_encoder\.).*[qkv]_proj.*{_DOWN}")),
    ("text_encoder_2", "hidden_size", re.compile(rf"^(lora_te2_|text_encoder_2\.).*[qkv]_proj.*{_DOWN}")),
)


def misfit(entry: ModelEntry, name: str) -> str | None:
    """Why a LoRA cannot belong to its model; None when nothing speaks against it, or it is not here."""
    lora = entry.loras[name]
    place, part = lora.place, "base" if lora.stage == "base" else "refiner"
    if place.pickled or part not in entry.places:
        return "is a pickle" if place.pickled else "belongs to a refiner, which the model has not"
    try:
        shapes = _shapes(str(place.path), place.path.stat().st_mtime_ns)
    except OSError:
        return None  # the worker, which has the file, is the backstop
    except ValueError:
        return "is no safetensors file"
    return _unlike(shapes, entry.places[part].config_folder)


def _unlike(shapes: Mapping[str, list[int]], folder: Path) -> str | None:
    if not any(re.search(_DOWN, key) for key in shapes):
        return "holds no LoRA"
    for component, key, layers in _WIDTHS:
        wanted = _config(folder / component / "config.json").get(key)
        widths = {shape[1] for name, shape in shapes.items() if layers.match(name) and len(shape) == 2}
        if isinstance(wanted, int) and widths - {wanted}:
            return f"was made for another model: its {component} has {max(widths)} channels and not {wanted}"
        if wanted is None and widths and (folder / "model_index.json").is_file():
            return f"was made for another model: this one has no {component}"
    return None


@lru_cache(maxsize=256)
def _shapes(path: str, _changed: int) -> dict[str, list[int]]:
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MOST_HEADER:
            raise ValueError("no header")
        header = json.loads(file.read(length))
    return {key: value["shape"] for key, value in header.items() if key != "__metadata__"}


def _config(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
