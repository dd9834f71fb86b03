"""The files of each model: there, and as long as they say. Reads headers, no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from latentfarm.doctor.finding import Finding, look
from latentfarm.places import CONVERT

if TYPE_CHECKING:
    from collections.abc import Collection

    from latentfarm.places import Place
    from latentfarm.registry import ModelEntry, Registry

_LENGTH = 8
_MOST_HEADER = 100_000_000
#: What each kind of component must hold, besides its weights.
_CONFIGS = {
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
    "tokenizer_2": "tokenizer_config.json",
}
_WITHOUT_WEIGHTS = frozenset(_CONFIGS)


def check_models(registry: Registry) -> list[Finding]:
    """One finding for each base, each refiner and whatever else an entry names."""
    return [finding for entry in registry.entries.values() for finding in (_absent(entry) or _present(entry))]


def _absent(entry: ModelEntry) -> list[Finding]:
    if entry.here or not entry.optional:
        return []
    detail = f"optional, and not on this machine; `latentfarm models pull {entry.name}` fetches it"
    return [Finding(f"model {entry.name}", ok=True, detail=detail, advice="")]


def _present(entry: ModelEntry) -> list[Finding]:
    advice = "put the model's files there as safetensors, see models.toml; or `latentfarm models pull`"
    places = {**entry.places, **_adapters(entry)}
    return [
        look(f"model {entry.name} {part}", lambda part=part, place=place: _place(part, place, entry), advice)  # type: ignore[misc]  # mypy knows no default arguments of lambdas
        for part, place in places.items()
    ]


def _adapters(entry: ModelEntry) -> dict[str, Place]:
    loras = {f"LoRA {name}": one.place for name, one in entry.loras.items()}
    return loras | {f"embedding {name}": one.place for name, one in entry.embeddings.items()}


def _place(part: str, place: Place, entry: ModelEntry) -> str:
    if place.pickled:
        raise ValueError(f"{place}: {CONVERT}")
    path = place.path
    if place.single:
        if place.configs and not (Path(place.configs) / "model_index.json").is_file():
            raise FileNotFoundError(f"no {place.configs}/model_index.json")
        return f"{_whole(path) / 1e6:.1f} MB in {path}"
    if part in {"base", "refiner"}:
        left_out = entry.places.keys() if part == "base" else entry.places.keys() & {"vae"}
        return _folder(path, entry, left_out)
    nested = path / part
    folder = nested if nested.is_dir() else path
    # As the worker: a part from elsewhere may lack the variant.
    variant = entry.variant if any(folder.glob(f"*.{entry.variant}*.safetensors")) else None
    size = _component(folder, variant)
    return f"{size / 1e6:.1f} MB in {path}"


def safetensors_size(path: Path) -> int:
    """Bytes that a safetensors file must have, by its own header.

    Raises:
        ValueError: it has no such header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 2 <= length <= min(_MOST_HEADER, path.stat().st_size):
            raise ValueError(f"{path}: no safetensors header")
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return _LENGTH + length + max(ends, default=0)


def _folder(folder: Path, entry: ModelEntry, left_out: Collection[str]) -> str:
    index = json.loads((folder / "model_index.json").read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    size = sum(_component(folder / name, entry.variant) for name in parts if name not in left_out)
    return f"{len(parts)} parts, {size / 1e6:.1f} MB in {folder}"


def _component(folder: Path, variant: str | None) -> int:
    config = folder / _CONFIGS.get(folder.name, "config.json")
    if not config.is_file():
        raise FileNotFoundError(f"no {config}")
    if folder.name in _WITHOUT_WEIGHTS:
        return 0
    infix = f".{variant}" if variant else ""
    files = sorted(folder.glob(f"*{infix}.safetensors")) or sorted(folder.glob(f"*{infix}-*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no {folder}/*{infix}.safetensors")
    return sum(_whole(path) for path in files)


def _whole(path: Path) -> int:
    size, wanted = path.stat().st_size, safetensors_size(path)
    if size != wanted:
        raise ValueError(f"{path} has {size} bytes and not {wanted}: cut short, or still being written")
    return size
