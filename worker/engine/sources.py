"""Which files a stage's networks are read from, and their digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.errors import ModelError
from latentfarm.places import CONVERT
from latentfarm.states import Stage
from worker.engine.weights import check_whole, component_folders, weight_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentfarm.places import Place
    from latentfarm.registry import ModelEntry

_PARTS = {Stage.BASE: ("unet", "vae"), Stage.REFINE: ("vae",)}
"""Components of a stage that an entry may replace."""


@dataclass(frozen=True, slots=True)
class Component:
    """One network of a stage.

    Attributes:
        name: `unet`, `vae`, `text_encoder` or `text_encoder_2`.
        config: the folder with its `config.json`.
        files: that hold its weights, in order.
        single: whether the one file is a checkpoint, in which its weights are found by their names.
        own: whether that checkpoint holds nothing but this component.
        variant: infix of the files' names.
        dtype: that it is held in.
    """

    name: str
    config: Path
    files: tuple[Path, ...]
    single: bool
    own: bool
    variant: str | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stage comes from.

    Attributes:
        configs: the folder in the diffusers layout: `model_index.json`, scheduler and tokenizers.
        components: the networks, in order of their names.
    """

    configs: Path
    components: tuple[Component, ...]

    @property
    def files(self) -> list[tuple[str, Path]]:
        """Component and file, in the order in which they are hashed."""
        return [(one.name, path) for one in self.components for path in one.files]


def source_of(entry: ModelEntry, stage: Stage, dtype: str) -> Source:
    """The files of one stage.

    Args:
        dtype: of components for which the entry names none.

    Raises:
        ModelError: a file or folder is missing, or a pickle.
    """
    places = entry.places
    place = places["base" if stage is Stage.BASE else "refiner"]
    _check_there(place)
    replaced = {name: places[name] for name in _PARTS[stage] if name in places}
    components = []
    for folder in component_folders(place.config_folder):
        held = entry.dtypes.get(folder.name, dtype)  # type: ignore[call-overload]  # any name may be asked for
        where = replaced.get(folder.name)
        if where is not None:
            components.append(_replaced(folder, where, entry.variant, held))
        elif place.single:
            components.append(_single(folder, place, held, own=False))
        else:
            found = _folder(folder.name, folder, entry.variant, held)
            if found.variant != entry.variant:
                raise ModelError(f"no .{entry.variant}.safetensors file in {folder}")
            components.append(found)
    return Source(place.config_folder, tuple(components))


def _check_there(place: Place) -> None:
    if place.pickled:
        raise ModelError(f"{place}: {CONVERT}")
    if not place.path.exists():
        if place.revision is None:
            raise ModelError(f"there is no {place.path}")
        raise ModelError(f"{place} is not in the local cache; `latentfarm models pull` fetches it")


def _replaced(folder: Path, place: Place, variant: str | None, dtype: str) -> Component:
    """A component that the entry takes from elsewhere: a folder of its own, which may lack the variant, or a file."""
    _check_there(place)
    if place.single:
        configs = place.config_folder if place.configs else folder
        nested = configs / folder.name
        return _single(nested if nested.is_dir() else configs, place, dtype, own=True, name=folder.name)
    nested = place.path / folder.name
    return _folder(folder.name, nested if nested.is_dir() else place.path, variant, dtype)


def _folder(name: str, folder: Path, variant: str | None, dtype: str) -> Component:
    files = weight_files(folder, variant)
    named = any(f".{variant}." in path.name or f".{variant}-" in path.name for path in files)
    return Component(
        name, folder, tuple(files), single=False, own=True, variant=variant if named else None, dtype=dtype
    )


def _single(config: Path, place: Place, dtype: str, *, own: bool, name: str | None = None) -> Component:
    files = (place.path,)
    return Component(name or config.name, config, files, single=True, own=own, variant=None, dtype=dtype)


class Digests:
    """SHA-256 of files, each read once."""

    def __init__(self) -> None:
        self._found: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """In hexadecimal.

        Raises:
            ModelError: the file is not whole; names it.
        """
        if path not in self._found:
            check_whole(path)
            with path.open("rb") as file:
                self._found[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._found[path]

    def whole(self, files: Sequence[tuple[str, Path]]) -> str:
        """SHA-256 over the digests of some files, named with their components."""
        whole = hashlib.sha256()
        for component, path in files:
            whole.update(f"{component}/{path.name} {self.of(path)}\n".encode())
        return whole.hexdigest()

    def signature(self, component: Component) -> tuple[object, ...]:
        """Equal for two components that are one and the same in memory."""
        config = (component.config / "config.json").read_bytes()
        files = tuple(self.of(path) for path in component.files)
        return component.name, component.dtype, component.single, hashlib.sha256(config).digest(), files


def hash_files(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of adapters' files, by name."""
    digests = Digests()
    return {name: digests.of(path) for name, path in files.items()}
