"""The models of the registry, and their versions, in Replicate's shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from api.replicate.requests import PredictionInput
from latentfarm import __version__
from latentfarm.errors import InvalidInput, NotFound
from latentfarm.model_versions import version_of
from latentfarm.predictions import NAMES, OWNER, PREFIX
from latentfarm.spec import RenderSpec
from latentfarm.views import View

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentfarm.registry import ModelEntry, Registry

COG_VERSION = "0.9.0"
"""Clients read an output's kind from the schema when it is 0.3.9 or later; before, a list would be an iterator."""
_LATER = {"num_images", "strength", "mask_image", "sampler", "output", "webhook", "model", "prompt"}


class VersionView(View):
    """A version of a model."""

    id: str = Field(description="SHA-256 over its parts and settings in the registry.")
    created_at: datetime = Field(description="When the registry's file was last changed.")
    cog_version: str = Field(description="Tells clients how to read the schema.")
    openapi_schema: dict[str, Any] = Field(description="`Input` and `Output` among its schemas.")


class VersionPage(View):
    """The versions of a model: one."""

    previous: str | None = Field(None, description="Always null.")
    next: str | None = Field(None, description="Always null.")
    results: list[VersionView] = Field(description="The version that the registry has now.")


class ReplicateModel(View):
    """A model of the registry."""

    url: str = Field(description="Where it is shown.")
    owner: str = Field(description="Always `latentfarm`.")
    name: str = Field(description="In the registry.")
    description: str | None = Field(None, description="What it is made of.")
    visibility: str = Field("private", description="Always `private`.")
    github_url: str | None = Field(None, description="Always null.")
    paper_url: str | None = Field(None, description="Always null.")
    license_url: str | None = Field(None, description="Always null.")
    run_count: int = Field(0, description="Always 0: it is not counted.")
    cover_image_url: str | None = Field(None, description="Always null.")
    default_example: None = Field(None, description="Always null.")
    latest_version: VersionView = Field(description="The version that the registry has now.")


class ReplicateModelPage(View):
    """All models."""

    previous: str | None = Field(None, description="Always null.")
    next: str | None = Field(None, description="Always null.")
    results: list[ReplicateModel] = Field(description="In the order of the registry.")


def model_view(entry: ModelEntry, base: str, created: datetime) -> ReplicateModel:
    """A model as an answer shows it."""
    return ReplicateModel(
        url=f"{base}{PREFIX}/models/{OWNER}/{entry.name}",
        owner=OWNER,
        name=entry.name,
        description="base and refiner" if entry.refiner else "base",
        latest_version=version_view(entry, created),
    )


def version_view(entry: ModelEntry, created: datetime) -> VersionView:
    """The version of a model that the registry has now."""
    schema = {
        "openapi": "3.1.0",
        "info": {"title": entry.name, "version": __version__},
        "components": {"schemas": {"Input": _input_schema(), "Output": _OUTPUT}},
    }
    return VersionView(
        id=version_of(entry), created_at=created, cog_version=COG_VERSION, openapi_schema=schema
    )


def created_at(models_file: Path) -> datetime:
    """What clients are told of the age of all versions."""
    return datetime.fromtimestamp(models_file.stat().st_mtime if models_file.exists() else 0, UTC)


def entry_at(registry: Registry, owner: str, model: str) -> ModelEntry:
    """The model of a path.

    Raises:
        NotFound: there is none; names those that there are.
    """
    entry = registry.entries.get(model) if owner == OWNER else None
    if entry is None:
        raise NotFound(f"no model {f'{owner}/{model}'[:100]!r}; there are: {_names(registry)}")
    return entry


def entry_of(registry: Registry, version: str | None, model: str | None) -> ModelEntry:
    """The model that a prediction's body names, by version or by name.

    Raises:
        InvalidInput: there is none, or the body names two or none.
    """
    if (version is None) == (model is None):
        raise InvalidInput("version", "exactly one of version and model is needed", "version or model")
    if model is not None:
        return _by_name(registry, "model", model)
    name, colon, wanted = (version or "").rpartition(":")
    if colon:
        entry = _by_name(registry, "version", name)
    elif "/" in wanted:
        return _by_name(registry, "version", wanted)
    else:
        return _by_version(registry.entries, wanted)
    return _by_version({entry.name: entry}, wanted)


def _by_name(registry: Registry, field: str, name: str) -> ModelEntry:
    owner, _, model = name.partition("/")
    entry = registry.entries.get(model) if owner == OWNER else None
    if entry is None:
        raise InvalidInput(field, f"no model {name[:100]!r}", _names(registry))
    return entry


def _by_version(entries: Mapping[str, ModelEntry], wanted: str) -> ModelEntry:
    for entry in entries.values():
        if version_of(entry) == wanted:
            return entry
    known = ", ".join(f"{OWNER}/{entry.name}:{version_of(entry)}" for entry in entries.values())
    raise InvalidInput("version", f"no version {wanted[:64]!r}", known)


def _names(registry: Registry) -> str:
    return ", ".join(f"{OWNER}/{name}" for name in sorted(registry.entries))


def _input_schema() -> dict[str, Any]:
    """All inputs: by Replicate's names, and the fields of a spec that have no other one."""
    ours, theirs = RenderSpec.model_json_schema(), PredictionInput.model_json_schema()
    hidden = {*NAMES, *_LATER}
    fields = {name: field for name, field in ours["properties"].items() if name not in hidden}
    return {
        "type": "object",
        "title": "Input",
        "required": ["prompt"],
        "properties": {**theirs["properties"], **fields},
        "additionalProperties": False,
        "$defs": {**ours["$defs"], **theirs.get("$defs", {})},
    }


_OUTPUT = {"type": "array", "title": "Output", "items": {"type": "string", "format": "uri"}}
