"""What one row asks for: its fields over the run's defaults, in every combination, with every prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from latentfarm.errors import InvalidInput
from latentfarm.manifests.defaults import row_defaults
from latentfarm.manifests.recipes import Recipes
from latentfarm.manifests.request import MAX_ID, RowMetadata
from latentfarm.manifests.sweeps import combinations
from latentfarm.manifests.templates import Templates
from latentfarm.spec import SEED_RANGE
from latentfarm.validation import PROMPTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.manifests.effort import Effort
    from latentfarm.manifests.recipes import Recipe
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.manifests.row import Row
    from latentfarm.registry import Registry

_METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(RowMetadata)
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_APART = {"id", "metadata", "seed", *PROMPTS}
"""Fields that a recipe does not depend on."""
_COMBINATION_UNITS = 2


@dataclass(frozen=True, slots=True)
class Draft:
    """One picture that a row asks for, `recipe.spec.num_images` times.

    Attributes:
        picture: canonical JSON, as in `Sample`.
        seed: of the first image, where the row or the sweep has one.
    """

    recipe: Recipe
    picture: str
    seed: int | None

    @property
    def images(self) -> int:
        """How many, each with a seed of its own."""
        return self.recipe.spec.num_images


@dataclass(frozen=True, slots=True)
class Labels:
    """What a row says of its images besides their specs."""

    id: str | None
    metadata: dict[str, str]


class Drafts:
    """Makes drafts of rows.

    Args:
        seed: of the run.
        effort: what templates and sweeps may take.

    Raises:
        InvalidInput: the request's own defaults or sweep are not right.
    """

    def __init__(self, request: DatasetRequest, registry: Registry, seed: int, effort: Effort) -> None:
        self._defaults = row_defaults(request)
        self._combinations = combinations(request.sweep)
        self._swept = self._combinations[0].keys()
        self._effort = effort
        self._templates = Templates(request, seed, effort)
        self._recipes = Recipes(registry)
        self._multiplies = request.template != "off" or len(self._combinations) > 1
        self._mixes = request.layout != "webdataset"
        self.format: str | None = None
        """Of all images of the run, once there is one; asked of by a layout that holds one format alone."""

    def labels(self, row: Row) -> Labels:
        """The id and the metadata of a row.

        Raises:
            InvalidInput: one of them is not right.
        """
        name, metadata = row.fields.get("id"), row.fields.get("metadata")
        if name is not None and (not isinstance(name, str) or not 1 <= len(name) <= MAX_ID or "\0" in name):
            raise InvalidInput("id", "is no id", f"text of 1 to {MAX_ID} characters")
        return Labels(name, {} if metadata is None else _metadata(metadata))

    def most(self, row: Row) -> int:
        """Images that a row gives at most, before any is made.

        Raises:
            InvalidInput: something of the row is not right.
        """
        if not self._multiplies:
            return 1
        return sum(
            self._templates.count(_prompt(fields)) * self._recipes.of(key, fields).spec.num_images
            for key, _, fields in self._combined(row)
        )

    def of(self, row: Row, place: int) -> Iterator[Draft]:
        """Every draft of a row, in order: for each combination every prompt.

        Args:
            place: of the row among all, counted from 0.

        Raises:
            InvalidInput: something of the row is not right.
        """
        found = self.format
        for key, seed, fields in self._combined(row):
            for prompt in self._templates.expand(_prompt(fields), place):
                fields["prompt"] = prompt
                recipe = self._recipes.of(key, fields)
                picture = recipe.picture(fields)
                found = found or recipe.spec.output.format
                if recipe.spec.output.format != found and not self._mixes:
                    raise _mixed(recipe.spec.output.format, found)
                yield Draft(recipe, picture, seed)

    def _combined(self, row: Row) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
        """Of each combination: what the recipe is known by, the seed, and the fields of the spec."""
        if row.error is not None:
            raise row.error
        for name in self._swept:
            if name in row.fields:
                raise InvalidInput(name, "is swept over, so a row cannot say it", "the sweep, or the rows")
        own = {name: value for name, value in row.fields.items() if name not in _APART}
        said = _encoder.encode(own) if own else ""
        for index, values in enumerate(self._combinations):
            if index:
                self._effort.spend(_COMBINATION_UNITS, "sweep")
            fields = {**self._defaults, **values, **row.fields}
            fields.pop("id", None)
            fields.pop("metadata", None)
            seed = _seed(fields.pop("seed", None))
            yield f"{index} {said}", seed, fields


def _prompt(fields: dict[str, Any]) -> str:
    """The prompt of a row, before anything is made of it."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        raise InvalidInput("prompt", "required, but missing" if prompt is None else "is no text", "text")
    return prompt


def _seed(value: Any) -> int | None:
    if value is not None and not (type(value) is int and 0 <= value < SEED_RANGE):
        raise InvalidInput("seed", "is no seed", f"0 to {SEED_RANGE - 1}")
    return value


def _mixed(given: str, before: str) -> InvalidInput:
    # Stock readers take the fields of all samples from the first ones, and the ending is the field's name.
    message = f"{given}, and the first image of the run is {before}"
    return InvalidInput("output.format", message, f"{before}; or layout imagefolder or parquet")


def _metadata(value: Any) -> dict[str, str]:
    text = json.dumps(value)
    try:
        found = _METADATA.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(["metadata", *map(str, first["loc"])])
        allowed = "up to 16 texts of up to 512 characters, by names of up to 64"
        raise InvalidInput(place[:200], first["msg"], allowed) from error
    if "\\u0000" in text:
        raise InvalidInput("metadata", "holds a NUL character", "text without U+0000")
    return found
