"""The model registry: what `models.toml` says, parsed and checked. Reads no weights."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latentfarm.adapters import (  # noqa: TC001 - pydantic needs the types at run time
    AdapterName,
    Commit,
    EmbeddingEntry,
    LoraEntry,
)
from latentfarm.errors import InvalidInput, UnknownModel
from latentfarm.places import Place
from latentfarm.spec import MAX_STEPS
from latentfarm.speed import Offload, Speed

Dtype = Literal["float32", "float16", "bfloat16"]
Component = Literal["unet", "vae", "text_encoder", "text_encoder_2"]


class ModelEntry(BaseModel):
    """One model. Paths are absolute after loading.

    Attributes:
        bucket: rows of one UNet forward. A guided sample has 2 rows, an unguided one 1. `1` means one
            sample at a time with just the rows that it has, which is what stock diffusers does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="Also part of queue names.")
    licence: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Of the weights, as the Hub names it, such as `openrail++`; told in the cards of datasets.",
    )
    optional: bool = Field(False, description="Workers without its files leave it out, and say so.")
    base: str = Field(description="Folder in the diffusers layout or .safetensors file; or a hub id.")
    revision: Commit | None = Field(None, description="Commit of the hub id; without it `base` is a path.")
    base_configs: str | None = Field(None, description="Folder of the configs of a single file.")
    refiner: str | None = Field(None, description="The same, for the refiner.")
    refiner_revision: Commit | None = None
    refiner_configs: str | None = None
    vae: str | None = Field(None, description="A VAE of its own, for both stages: folder, file or hub id.")
    vae_revision: Commit | None = None
    vae_configs: str | None = None
    unet: str | None = Field(None, description="A UNet in place of the base's: folder, file or hub id.")
    unet_revision: Commit | None = None
    variant: str | None = Field(None, description="Such as `fp16`; a VAE or UNet of its own may lack it.")
    dtype: Dtype = "float32"
    dtypes: dict[Component, Dtype] = Field({}, description="Of components that are not held in `dtype`.")
    bucket: int = Field(8, ge=1, le=256)
    sampler: str = Field("euler", description="The default sampler.")
    timestep_spacing: Literal["leading", "linspace", "trailing"] | None = Field(
        None, description="The default spacing; as the sampler's config says when absent."
    )
    steps: int | None = Field(None, ge=1, le=MAX_STEPS, description="Default steps; 50 when absent.")
    max_steps: int = Field(MAX_STEPS, ge=1, le=MAX_STEPS, description="Steps that a spec may ask for.")
    guidance_scale: float | None = Field(None, ge=0, le=100, description="Default; stock's when absent.")
    max_guidance: float = Field(100.0, ge=0, le=100, description="Guidance that a spec may ask for.")
    native_size: tuple[int, int] = Field((1024, 1024), description="[height, width] when a spec gives none.")
    min_size: int = Field(512, ge=8, description="Pixels, either side.")
    max_size: int = Field(2048, le=16_384, description="Pixels, either side.")
    max_images: int = Field(1000, ge=1, description="Images of one job.")
    train_timesteps: int = Field(1000, ge=1)
    speed: Speed = Field(Speed(), description="Options for memory and speed.")
    loras: dict[AdapterName, LoraEntry] = Field({}, description="LoRAs that specs may name.")
    embeddings: dict[AdapterName, EmbeddingEntry] = Field({}, description="Embeddings that specs may name.")

    @model_validator(mode="after")
    def _configs_of_single_files(self) -> ModelEntry:
        for part in ("base", "refiner"):
            place = self.places.get(part)
            if place is not None and place.single and place.configs is None:
                raise ValueError(
                    f"{part} is a single file: give {part}_configs, a folder in diffusers layout"
                )
        return self

    @property
    def places(self) -> dict[str, Place]:
        """Of each part that the entry names: base, refiner, vae, unet."""
        given = {
            "base": Place(self.base, self.revision, self.base_configs),
            "refiner": Place(self.refiner or "", self.refiner_revision, self.refiner_configs),
            "vae": Place(self.vae or "", self.vae_revision, self.vae_configs),
            "unet": Place(self.unet or "", self.unet_revision),
        }
        return {part: place for part, place in given.items() if place.where}

    @property
    def here(self) -> bool:
        """Whether the files of all its parts are on this machine, as far as a look at folders tells."""
        return all(place.path.exists() for place in self.places.values())

    def with_offload(self, offload: Offload) -> ModelEntry:
        """The entry as a worker with less memory loads it: no bit of a picture changes."""
        return self.model_copy(update={"speed": self.speed.model_copy(update={"offload": offload})})

    def token_of(self, embedding: str) -> str:
        """What prompts write for an embedding."""
        return self.embeddings[embedding].token or f"<{embedding}>"


class Registry:
    """All models by name."""

    def __init__(self, entries: dict[str, ModelEntry]) -> None:
        self.entries = entries

    def get(self, name: str) -> ModelEntry:
        """The entry of a model.

        Raises:
            UnknownModel: no such name.
        """
        if name not in self.entries:
            raise UnknownModel("model", f"no model {name!r}", ", ".join(sorted(self.entries)))
        return self.entries[name]


def load_registry(path: Path) -> Registry:
    """Reads models.toml. Relative folders are taken from the place of that file.

    Raises:
        InvalidInput: the file is missing, or an entry is not right; names model and field.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidInput("models_file", f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        # Neither TOML nor, perhaps, UTF-8.
        raise InvalidInput("models_file", f"{path}: {error}") from error
    models = _table("models", document.get("models", {}))
    return Registry({name: _entry(name, fields, path.parent) for name, fields in models.items()})


def _table(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidInput(name, f"{value!r} is no table", f"[{name}]")
    return value


def _entry(name: str, fields: object, folder: Path) -> ModelEntry:
    try:
        entry = ModelEntry.model_validate({"name": name, **_table(f"models.{name}", fields)})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"models.{name}.{field}", first["msg"]) from error
    return _resolved(entry, folder)


def _resolved(entry: ModelEntry, folder: Path) -> ModelEntry:
    """The entry with absolute paths; hub ids stay as they are."""
    paths: dict[str, object] = {}
    for part, revision in (
        ("base", entry.revision),
        ("refiner", entry.refiner_revision),
        ("vae", entry.vae_revision),
        ("unet", entry.unet_revision),
        ("base_configs", None),
        ("refiner_configs", None),
        ("vae_configs", None),
    ):
        given = getattr(entry, part)
        if given is not None and revision is None:
            paths[part] = _absolute(folder, given)
    for kind in ("loras", "embeddings"):
        paths[kind] = {
            name: one if one.revision else one.model_copy(update={"file": _absolute(folder, one.file)})
            for name, one in getattr(entry, kind).items()
        }
    return entry.model_copy(update=paths)


def _absolute(folder: Path, given: str) -> str:
    return str((folder / Path(given).expanduser()).resolve())
