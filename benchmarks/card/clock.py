"""How busy the card is: what its own profiler saw, not what the host's threads believe."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from worker.engine.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.engine.model import LoadedModel

_DECODES = 5


@dataclass(frozen=True, slots=True)
class Busy:
    """Seconds from the first kernel to the last, and those of them in which one ran."""

    wall: float
    kernels: float

    @property
    def idle(self) -> float:
        """A share, 0 to 1."""
        return 1 - self.kernels / self.wall


def busy(model: LoadedModel, work: Callable[[], object]) -> Busy:
    """Watches the device while `work` runs; on a CPU all of it counts as busy."""
    started = time.perf_counter()
    if model.device.type != "cuda":
        work()
        wall = time.perf_counter() - started
        return Busy(wall, wall)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
        work()
        torch.cuda.synchronize()
    results: Any = seen.profiler
    spans = sorted(
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in results.kineto_results.events()
        if str(event.device_type()).endswith("CUDA")
    )
    return Busy((max(end for _, end in spans) - spans[0][0]) / 1e9, _covered(spans) / 1e9)


def _covered(spans: list[tuple[int, int]]) -> int:
    """Length of the union: kernels of several streams overlap."""
    total, reached = 0, spans[0][0]
    for start, end in spans:
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def decode_s(model: LoadedModel, latents: torch.Tensor) -> float:
    """Seconds of one decode while nothing else runs.

    Args:
        latents: `[1, 4, height / 8, width / 8]` on the model's device.
    """
    pipe: Any = next(iter(model.pipelines.values()))
    with torch.inference_mode():
        decode(pipe, latents)
        _wait(model)
        started = time.perf_counter()
        for _ in range(_DECODES):
            decode(pipe, latents)
        _wait(model)
    return (time.perf_counter() - started) / _DECODES


def _wait(model: LoadedModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()
