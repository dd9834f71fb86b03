"""Samples that have had their last step and wait for the VAE."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, cast

from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Hashable

    from worker.engine.preview import Glimpse
    from worker.engine.sample import Sample

PIXELS = 1024 * 1024
"""Most pixels of one pass. A large image fills the device by itself; of small ones most of the time is starting kernels, and
together they need no more memory than one of the largest."""
_GLIMPSE = 2
"""Sorts behind the samples of both lanes."""
_LAST = 3
_PER_LATENT = 64
"""Pixels for each place of the latents."""

Entry = tuple[int, int, "Sample | Glimpse | None"]


class Decodable:
    """Interactive samples first, then those that were admitted first. Filled by one thread, emptied by another.

    A preview is taken when no sample waits. There is one at a time, of whatever image: what comes while one waits, or
    while anything is decoded, is dropped.
    """

    def __init__(self) -> None:
        self._waiting: queue.PriorityQueue[Entry] = queue.PriorityQueue()
        self._idle = True

    def put(self, sample: Sample) -> None:
        """Adds a sample."""
        rank = 0 if sample.order.lane is Lane.INTERACTIVE else 1
        self._waiting.put((rank, sample.arrival, sample))

    def offer(self, glimpse: Glimpse) -> None:
        """Adds what a preview is made of, or drops it."""
        if self._idle and self._waiting.empty():
            self._waiting.put((_GLIMPSE, 0, glimpse))

    def close(self) -> None:
        """Lets `take` give nothing once all samples were taken."""
        self._waiting.put((_LAST, 0, None))

    def take(self) -> list[Sample] | Glimpse:
        """Waits for a sample, and adds those that wait, too, and may go through the VAE with it; or for a preview.

        Returns:
            At least one sample, in order; nothing after the end.
        """
        self._idle = True
        rank, _, first = self._waiting.get()
        self._idle = False
        if first is None:
            return []
        if rank == _GLIMPSE:
            return cast("Glimpse", first)
        return self._with_others(cast("Sample", first))

    def _with_others(self, first: Sample) -> list[Sample]:
        taken, others = [first], list[Entry]()
        place = _place(first)
        most = PIXELS // _pixels(first) if place is not None else 1
        with contextlib.suppress(queue.Empty):
            while len(taken) < most:
                entry = self._waiting.get_nowait()
                if entry[0] < _GLIMPSE and _place(cast("Sample", entry[2])) == place:
                    taken.append(cast("Sample", entry[2]))
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
