"""Samples that have had their last step and wait for the VAE."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING

from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Hashable

    from worker.engine.sample import Sample

PIXELS = 1024 * 1024
"""Most pixels of one pass. A large image fills the device by itself; of small ones most of the time is starting kernels, and
together they need no more memory than one of the largest."""
_LAST = 2
"""Sorts behind the samples of both lanes."""
_PER_LATENT = 64
"""Pixels for each place of the latents."""

Entry = tuple[int, int, "Sample | None"]


class Decodable:
    """Interactive samples first, then those that were admitted first. Filled by one thread, emptied by another."""

    def __init__(self) -> None:
        self._waiting: queue.PriorityQueue[Entry] = queue.PriorityQueue()

    def put(self, sample: Sample) -> None:
        """Adds a sample."""
        rank = 0 if sample.order.lane is Lane.INTERACTIVE else 1
        self._waiting.put((rank, sample.arrival, sample))

    def close(self) -> None:
        """Lets `take` give None once all samples were taken."""
        self._waiting.put((_LAST, 0, None))

    def take(self) -> list[Sample]:
        """Waits for a sample, and adds those that wait, too, and may go through the VAE with it.

        Returns:
            At least one sample, in order; nothing after the end.
        """
        first = self._waiting.get()[2]
        if first is None:
            return []
        taken, others = [first], list[Entry]()
        place = _place(first)
        most = PIXELS // _pixels(first) if place is not None else 1
        with contextlib.suppress(queue.Empty):
            while len(taken) < most:
                entry = self._waiting.get_nowait()
                if entry[2] is not None and _place(entry[2]) == place:
                    taken.append(entry[2])
                else:
                    others.append(entry)
        for entry in others:
            self._waiting.put(entry)
        return taken


def _pixels(sample: Sample) -> int:
    return _PER_LATENT * sample.latents.shape[-2] * sample.latents.shape[-1]


def _place(sample: Sample) -> Hashable | None:
    """What samples must have in common to be decoded together; None: it is decoded by itself.

    What is reproducible must not depend on who else waits. Latents for the refiner are not decoded at all.
    """
    order = sample.order
    hands_over = order.stage is Stage.BASE and order.spec.refiner is not None
    if sample.reproducible or sample.model.decodes_alone or hands_over:
        return None
    return (sample.key.model, sample.key.stage, sample.key.latents, sample.latents.dtype)
