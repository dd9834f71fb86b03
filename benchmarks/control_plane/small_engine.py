"""An engine that does no work and leaves images of 64 bytes, which are really put: what is left is the farm.

Imports no torch. The bytes follow from seed and prompt, so that each can be told from the others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.control_plane.idle_engine import IdleEngine
from worker import images
from worker.assembly import Assembled
from worker.engine.order import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.states import Stage
    from worker.engine.order import Listener, Order


def load(
    _entries: Sequence[ModelEntry], _stages: Sequence[Stage], *, listener: Listener, **_: Any
) -> Assembled:
    """What the setting `engine` names."""
    stored: Any = images
    stored.encode = lambda picture, *_: bytes(picture.pixels)
    return Assembled(SmallEngine(listener, 0.0), {"device_name": "none"}, framework="np")


def image_of(seed: int, prompt: str) -> bytes:
    """The 64 bytes of an image."""
    return hashlib.sha512(f"{seed} {prompt}".encode()).digest()


class SmallEngine(IdleEngine):
    """See the module."""

    def result(self, order: Order) -> Picture:
        """The image of an order."""
        pixels: Any = np.frombuffer(image_of(order.seed, order.spec.prompt), dtype=np.uint8)
        return Picture(pixels, {"device": "none"})
