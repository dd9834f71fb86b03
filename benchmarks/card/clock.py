"""How long the card is busy with the UNet and with the VAE."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.engine.model import LoadedModel


@dataclass(slots=True)
class Clock:
    """Spans of the card's own time: pairs of events on CUDA, of readings elsewhere."""

    cuda: bool
    spans: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)

    def timed(self, part: str, work: Any) -> Any:
        """The same function, timed."""

        def run(*arguments: Any, **named: Any) -> Any:
            began = self._now()
            try:
                return work(*arguments, **named)
            finally:
                self.spans.setdefault(part, []).append((began, self._now()))

        return run

    def seconds(self, part: str) -> float:
        """Over all spans of a part. Waits for the card."""
        if self.cuda:
            torch.cuda.synchronize()
            return float(sum(began.elapsed_time(ended) for began, ended in self.spans.get(part, ()))) / 1000
        return float(sum(ended - began for began, ended in self.spans.get(part, ())))

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


@contextlib.contextmanager
def watched(model: LoadedModel) -> Iterator[Clock]:
    """Times the base's UNet and the VAE until the block ends."""
    pipe = model.pipelines[Stage.BASE]
    clock = Clock(model.device.type == "cuda")
    unet, decode = pipe.unet.forward, pipe.vae.decode
    pipe.unet.forward, pipe.vae.decode = clock.timed("unet", unet), clock.timed("vae", decode)
    try:
        yield clock
    finally:
        pipe.unet.forward, pipe.vae.decode = unet, decode
