"""The weight files of a model's folders: which are read, whether they are whole, and their digest."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from latentfarm.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_STEMS = ("diffusion_pytorch_model", "model")


def component_folders(folder: Path) -> list[Path]:
    """Folders of a pipeline's components that hold weights, in order of their names.

    Raises:
        ModelError: `folder` is no pipeline in the diffusers layout.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {folder / 'model_index.json'}: {error}") from error
    names = [name for name, value in sorted(index.items()) if isinstance(value, list) and value[0]]
    return [folder / name for name in names if (folder / name / "config.json").is_file()]


def weight_files(component: Path, variant: str | None) -> list[Path]:
    """The files that `from_pretrained` reads for one component, shards in order.

    Raises:
        ModelError: there is none.
    """
    suffixes = [f".{variant}"] if variant else []
    for suffix in [*suffixes, ""]:
        for stem in _STEMS:
            single = component / f"{stem}{suffix}.safetensors"
            if single.is_file():
                return [single]
            index = component / f"{stem}.safetensors.index{suffix}.json"
            if index.is_file():
                shards = json.loads(index.read_text())["weight_map"].values()
                return [component / name for name in sorted(set(shards))]
    raise ModelError(f"no .safetensors file in {component}; pickled weights are not read")


def check_whole(path: Path) -> None:
    """Compares a file's size with what its header promises.

    Raises:
        ModelError: the file is missing, cut short, or no safetensors file; names it.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ModelError(f"{path} is cut short: {size} bytes, header of {length}")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelError(f"{path} is cut short or altered: {size} bytes where its header says {expected}")


def hash_weights(folder: Path, variant: str | None = None) -> str:
    """SHA-256 over the digests of all weight files of a pipeline folder, in hexadecimal.

    Raises:
        ModelError: a file is missing or not whole; names it.
    """
    whole = hashlib.sha256()
    for component in component_folders(folder):
        for path in weight_files(component, variant):
            check_whole(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{component.name}/{path.name} {digest}\n".encode())
    return whole.hexdigest()
