"""The VAE as the pipelines' own methods may use it while other threads decode with it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch


class Encoder:
    """Stands in a pipeline where its VAE would, and encodes with that.

    Stock moves a VAE that only works in float32 there before it encodes an image, and back
    afterwards. Here the VAE is shared by threads and held in the precision that it decodes in, so
    asking it to move does nothing; where another precision is needed, a copy encodes.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self.config = vae.config
        self.dtype = vae.dtype

    def to(self, *_places: object, **_named: object) -> Self:
        """Stays as it is."""
        return self

    def encode(self, image: torch.Tensor) -> Any:
        """What the VAE's own `encode` gives, in the precision of the image.

        Args:
            image: `[1, 3, height, width]`, -1 to 1, on the VAE's device; one at a time, so that the
                shape is constant and the one that stock has.
        """
        vae = self._vae
        if vae.dtype != image.dtype:
            vae = copy.deepcopy(vae).to(image.dtype)
        return vae.encode(image)
