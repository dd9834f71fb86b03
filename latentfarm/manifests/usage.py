"""What the rows of a manifest use: models, adapters, and the work that their images are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.manifests.checked import Adapters

if TYPE_CHECKING:
    from latentfarm.manifests.recipes import Recipe


class Usage:
    """Adds up recipes as they are used."""

    def __init__(self) -> None:
        self.megapixel_steps = 0.0
        self.megapixels = 0.0
        self._last: Recipe | None = None
        self._names: dict[str, tuple[set[str], set[str]]] = {}

    def add(self, recipe: Recipe) -> None:
        """Counts one use: all images that a spec asks for."""
        spec = recipe.spec
        self.megapixel_steps += recipe.megapixel_steps * spec.num_images
        self.megapixels += (spec.height or 0) * (spec.width or 0) / 1_000_000 * spec.num_images
        if recipe is self._last:
            return
        self._last = recipe
        loras, embeddings = self._names.setdefault(recipe.spec.model, (set(), set()))
        loras.update(use.name for use in recipe.spec.loras)
        embeddings.update(recipe.spec.embeddings)

    def models(self) -> dict[str, Adapters]:
        """By name, each with the adapters used of it."""
        return {
            model: Adapters(tuple(sorted(loras)), tuple(sorted(embeddings)))
            for model, (loras, embeddings) in sorted(self._names.items())
        }
