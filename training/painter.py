"""Who paints the pictures that are judged: stock pipelines (`studio`), or a farm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image


class Painter(Protocol):
    """Paints one picture per prompt and seed with the tiny pair.

    Further arguments have diffusers' names; a list as long as the prompts holds one value per picture.
    """

    def base_alone(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, **more: Any
    ) -> list[Image.Image]:
        """All steps by the base."""
        ...

    def with_refiners(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        refiners: Sequence[Mapping[str, float]],
        *,
        steps: int,
    ) -> list[list[Image.Image]]:
        """Base to 80 % and the refiner for the rest: all pictures once for each set of its own arguments."""
        ...

    def from_pictures(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        image: list[Image.Image],
        strength: float,
        mask_image: Image.Image | None = None,
    ) -> list[Image.Image]:
        """Image-to-image by the base; with a mask, inpainting."""
        ...
