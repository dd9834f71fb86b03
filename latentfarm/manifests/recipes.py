"""Rows that differ in their texts alone share a recipe: what else a spec says is checked once.

A recipe keeps the canonical JSON of its picture with gaps where the texts go, so that a picture costs a
join and a SHA-256.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from latentfarm.explain import explain
from latentfarm.manifests.fields import check_field
from latentfarm.spec import MAX_PROMPT_CHARS, RenderSpec
from latentfarm.stages import megapixel_steps_of
from latentfarm.validation import PROMPTS, check_prompts, complete

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.registry import ModelEntry, Registry

_KEPT = 20_000
"""Recipes in memory, a few KB each: a sweep has up to 10,000; rows may each have one of their own."""
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A complete spec without its texts.

    Attributes:
        spec: complete, with an empty prompt.
        pieces: of the picture's JSON; a text goes after each but the last one.
        gaps: which text that is.
        megapixel_steps: of one image: pixels / 1,000,000 x UNet evaluations.
    """

    spec: RenderSpec
    pieces: tuple[str, ...]
    gaps: tuple[str, ...]
    megapixel_steps: float

    @classmethod
    def of(cls, spec: RenderSpec, entry: ModelEntry) -> Recipe:
        """The recipe of a complete spec."""
        pieces, gaps = [""], list[str]()
        for name, value in sorted(spec.picture().items()):
            start = f"{',' if len(pieces[-1]) or gaps else '{'}{_encoder.encode(name)}:"
            if name in PROMPTS:
                pieces[-1] += start
                gaps.append(name)
                pieces.append("")
            else:
                pieces[-1] += start + _encoder.encode(value)
        pieces[-1] += "}"
        return cls(spec, tuple(pieces), tuple(gaps), megapixel_steps_of(spec, entry))

    def picture(self, fields: Mapping[str, Any]) -> str:
        """Canonical JSON of the picture with the texts of a row, those that are absent null.

        Raises:
            InvalidInput: a text does not fit the rest.
        """
        texts = {name: fields.get(name) for name in PROMPTS}
        check_prompts(self.spec.model_copy(update=texts))
        parts = [self.pieces[0]]
        for gap, piece in zip(self.gaps, self.pieces[1:], strict=True):
            text = texts[gap]
            parts += ("null" if text is None else _encoder.encode(text), piece)
        return "".join(parts)


class Recipes:
    """Recipes by what they are made of."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, Recipe] = {}

    def of(self, key: str, fields: Mapping[str, Any]) -> Recipe:
        """The recipe of a row.

        Args:
            key: stands for all that `fields` says besides texts.
            fields: of the spec, texts too, but neither metadata nor seed.

        Raises:
            InvalidInput: what the spec or its model does not take; also of a text by itself.
        """
        if (found := self._known.get(key)) is not None and _plain(fields):
            return found
        for name in fields:
            check_field(name, name)
        recipe = self._checked(fields)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[key] = recipe
        return recipe

    def _checked(self, fields: Mapping[str, Any]) -> Recipe:
        try:
            spec = RenderSpec.model_validate_json(json.dumps(fields), strict=True)
        except ValidationError as error:
            raise explain(error, RenderSpec)[0] from error
        entry = self._registry.get(spec.model)
        without = dict.fromkeys(PROMPTS) | {"prompt": ""}
        return Recipe.of(complete(spec.model_copy(update=without), entry), entry)


def _plain(fields: Mapping[str, Any]) -> bool:
    """Whether the texts are such as every spec takes; any other is left to the spec to complain of."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or len(prompt) > MAX_PROMPT_CHARS:
        return False
    return all(
        text is None or (isinstance(text, str) and len(text) <= MAX_PROMPT_CHARS)
        for text in (fields.get(name) for name in PROMPTS)
    )
