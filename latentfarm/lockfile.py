"""`models.lock` beside models.toml: the digest of every file that a model was checked with."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from latentfarm.registry import ModelEntry

NAME = "models.lock"
Digests = dict[str, dict[str, str]]
"""Part of a model -> path inside of it -> SHA-256."""


def read_lock(path: Path) -> dict[str, Digests]:
    """Models -> digests; empty when there is no such file.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput("models.lock", f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput("models.lock", f"{path} is no object")
    return found


def write_lock(path: Path, model: str, digests: Digests) -> None:
    """Records a model's digests; those of others stay."""
    whole = {**read_lock(path), model: digests}
    fresh = path.with_suffix(".lock.new")
    fresh.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", "utf-8")
    fresh.replace(path)


def digests_of(entry: ModelEntry) -> Digests:
    """Reads every file of a model that is here.

    Raises:
        OSError: one cannot be read.
    """
    places = dict(entry.places)
    places |= {f"LoRA {name}": one.place for name, one in entry.loras.items()}
    places |= {f"embedding {name}": one.place for name, one in entry.embeddings.items()}
    return {part: _files(place.path) for part, place in places.items()}


def _files(path: Path) -> dict[str, str]:
    return {name: _sha256(file) for name, file in _below(path)}


def _below(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            file = path.__class__(folder) / name
            if file.suffix in {".safetensors", ".json", ".txt"}:
                yield str(file.relative_to(path)), file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def altered(entry: ModelEntry, found: Digests, locked: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What differs from the lock, and files of the hub's cache that are not what their name promises."""
    wrong = []
    for part, files in found.items():
        before = locked.get(part)
        for name, digest in files.items():
            if before is not None and before.get(name) != digest:
                wrong.append(
                    f"{part}: {name} is {'altered' if name in before else 'new'} since it was recorded"
                )
        wrong += [f"{part}: {name} is gone" for name in sorted((before or {}).keys() - files.keys())]
        wrong += _misnamed(entry, part, files)
    return wrong


def _misnamed(entry: ModelEntry, part: str, files: Mapping[str, str]) -> list[str]:
    """The hub's cache calls a large file by its SHA-256."""
    place = entry.places.get(part)
    if place is None or place.revision is None:
        return []
    wrong = []
    for name, digest in files.items():
        file = place.path if place.path.is_file() else place.path / name
        blob = file.resolve().name
        if len(blob) == len(digest) and blob != digest:
            wrong.append(f"{part}: {name} is not what the hub has")
    return wrong
