"""A farm as the painter of pictures that are judged."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from benchmarks.equality.queues import PATIENCE_S, RefusedError
from latentfarm.pixels import open_picture
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from PIL import Image

    from latentfarm.client import Client

GUIDANCE = 5.0
"""Of all pictures, as the stock painter has it."""


class FarmPainter:
    """Paints through a farm: the jobs of a call all at once; see `training.painter`.

    Args:
        client: of a farm that serves `tiny` with both stages.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def base_alone(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int = 20, **more: Any
    ) -> list[Image.Image]:
        """Pictures of the base queue."""
        return self._paint(prompts, seeds, num_inference_steps=steps, **more)

    def with_refiners(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        refiners: Sequence[Mapping[str, float]],
        *,
        steps: int = 20,
    ) -> list[list[Image.Image]]:
        """Pictures that went through both queues."""
        specs = [RefinerSpec.model_validate({"high_noise_frac": 0.8, **own}) for own in refiners]
        return [self._paint(prompts, seeds, num_inference_steps=steps, refiner=refiner) for refiner in specs]

    def from_pictures(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = 20,
        image: list[Image.Image],
        strength: float,
        mask_image: Image.Image | None = None,
    ) -> list[Image.Image]:
        """Uploads the pictures, and paints from them."""
        more: dict[str, Any] = {"image": [self._upload(one) for one in image], "strength": strength}
        if mask_image is not None:
            more["mask_image"] = self._upload(mask_image)
        return self._paint(prompts, seeds, num_inference_steps=steps, **more)

    def _paint(self, prompts: Sequence[str], seeds: Sequence[int], **fields: Any) -> list[Image.Image]:
        specs = []
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            own = {
                name: value[index] if isinstance(value, list) and len(value) == len(prompts) else value
                for name, value in fields.items()
            }
            given = {"prompt": prompt, "seed": seed, "guidance_scale": GUIDANCE, "lane": Lane.BULK, **own}
            specs.append(RenderSpec.model_validate(given))
        jobs = [self._client.submit(spec).id for spec in together(specs)]
        return [picture for job in jobs for picture in self._pictures(job)]

    def _pictures(self, job: UUID) -> list[Image.Image]:
        ended = self._client.wait(job, timeout=PATIENCE_S)
        if ended.state != "succeeded":
            raise RefusedError(f"{ended.state}: {[image.error for image in ended.images]}")
        return [open_picture(self._client.image(job, index)) for index in range(ended.num_images)]

    def _upload(self, picture: Image.Image) -> str:
        file = io.BytesIO()
        picture.save(file, "PNG")
        return self._client.upload(file.getvalue())


def together(specs: Sequence[RenderSpec]) -> list[RenderSpec]:
    """Neighbours that differ by the next seed alone become one job."""
    found: list[RenderSpec] = []
    for spec in specs:
        before = found[-1] if found else spec
        following = {"seed": before.seed_of(before.num_images), "num_images": 1}
        if found and before.model_copy(update=following) == spec:
            found[-1] = before.model_copy(update={"num_images": before.num_images + 1})
        else:
            found.append(spec)
    return found
