"""The weight files of a model's folders: which are read, and whether they are whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from latentfarm.errors import ModelError
from latentfarm.places import CONVERT, PICKLES

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
    if not isinstance(index, dict):
        raise ModelError(f"{folder / 'model_index.json'} is no object")
    names = [name for name, value in sorted(index.items()) if isinstance(value, list) and value and value[0]]
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
                return [component / name for name in _shards(index)]
    if any(path.suffix in PICKLES for path in component.glob("*.*")):
        raise ModelError(f"no .safetensors file in {component}: {CONVERT}")
    raise ModelError(f"no .safetensors file in {component}")


def _shards(index: Path) -> list[str]:
    try:
        names = sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{index} cannot be read: {error}") from error
    if any("/" in name or not name.endswith(".safetensors") for name in names):
        raise ModelError(f"{index} names files that are not read here")
    return names


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
                if _pickled(length):
                    raise ModelError(f"{path} is no safetensors file whatever its name says: {CONVERT}")
                raise ModelError(f"{path} is cut short: {size} bytes, header of {length}")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelError(f"{path} is cut short or altered: {size} bytes where its header says {expected}")


def _pickled(first: int) -> bool:
    """Whether a file's first eight bytes are those of a pickle, or of the zip that torch puts it in."""
    start = first.to_bytes(8, "little")
    return start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1] in range(2, 6))
