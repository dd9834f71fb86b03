"""The files of each model: there, and as long as they say. Reads headers, no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from latentfarm.doctor.finding import Finding, look

if TYPE_CHECKING:
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
    """One finding for each base and each refiner of the registry."""
    return [
        look(
            f"model {entry.name} {part}",
            lambda folder=folder, entry=entry: _folder(Path(folder), entry),  # type: ignore[misc]  # mypy knows no default arguments of lambdas
            "put the model's files there in the diffusers layout, as safetensors; see models.toml",
        )
        for entry in registry.entries.values()
        for part, folder, hub in (
            ("base", entry.base, entry.revision),
            ("refiner", entry.refiner, entry.refiner_revision),
        )
        if folder is not None and hub is None
    ]


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


def _folder(folder: Path, entry: ModelEntry) -> str:
    index = json.loads((folder / "model_index.json").read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    size = sum(_component(folder / name, entry.variant) for name in parts)
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
