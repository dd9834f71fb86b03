"""The model registry: what `models.toml` says, parsed and checked. Reads no weights."""

from __future__ import annotations

import tomllib
from pathlib import Path  # noqa: TC003 - pydantic needs the type at run time

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latentfarm.errors import InvalidInput, UnknownModel


class ModelEntry(BaseModel):
    """One model. Paths are absolute after loading.

    Attributes:
        bucket: rows of one UNet forward. A guided sample has 2 rows, an unguided one 1. `1` means one
            sample at a time with just the rows that it has, which is what stock diffusers does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="Also part of queue names.")
    base: str = Field(description="Folder in the diffusers layout; with `revision` a hub id.")
    refiner: str | None = Field(None, description="The same, for the refiner.")
    revision: str | None = Field(None, description="Commit of the hub id; without it `base` is a folder.")
    refiner_revision: str | None = None
    variant: str | None = Field(None, description="Such as `fp16`.")
    dtype: str = Field("float32", pattern="^(float32|float16|bfloat16)$")
    bucket: int = Field(8, ge=1, le=256)
    sampler: str = Field("euler", description="The default sampler.")
    native_size: tuple[int, int] = Field((1024, 1024), description="[height, width] when a spec gives none.")
    min_size: int = Field(512, ge=8, description="Pixels, either side.")
    max_size: int = Field(2048, le=16_384, description="Pixels, either side.")
    max_images: int = Field(1000, ge=1, description="Images of one job.")
    train_timesteps: int = Field(1000, ge=1)


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
    places: dict[str, str] = {}
    if entry.revision is None:
        places["base"] = str((folder / entry.base).resolve())
    if entry.refiner is not None and entry.refiner_revision is None:
        places["refiner"] = str((folder / entry.refiner).resolve())
    return entry.model_copy(update=places)
