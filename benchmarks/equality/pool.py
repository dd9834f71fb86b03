"""Stock in processes of its own: one per core, each with one thread, as the farm's worker has one."""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from benchmarks.equality.measuring import Floor, Measured, measure, measure_floor
from benchmarks.equality.stock import Stock
from latentfarm.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import numpy as np

    from benchmarks.equality.sets import ParameterSet

    Plain = tuple[np.ndarray, dict[str, int]]

_STOCK: list[Stock] = []
"""Of a process of the pool."""


class Pool:
    """Measures sets while the farm renders them.

    Args:
        registry: file of the models.
        processes: how many.
    """

    def __init__(self, registry: Path, processes: int) -> None:
        self._executor = ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(registry,)
        )
        self._futures: list[Future[Plain]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def submit(self, chosen: ParameterSet) -> None:
        """Hands in a set."""
        self._futures.append(self._executor.submit(_measure, chosen))

    @property
    def done(self) -> int:
        """How many sets are measured."""
        return sum(future.done() for future in self._futures)

    def result(self, index: int) -> Measured:
        """Waits for the set that was handed in as number `index`.

        Raises:
            Exception: whatever stock raised.
        """
        picture, effects = self._futures[index].result()
        return Measured(torch.from_numpy(picture), effects)

    def floors(self, chosen: Sequence[ParameterSet]) -> list[Floor]:
        """Waits for the floors of some sets.

        Raises:
            Exception: whatever stock raised.
        """
        return list(self._executor.map(_measure_floor, chosen))


def hush() -> None:
    """Stock says that long prompts are cut, and libraries warn of each other's ways."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for each in (diffusers_logging, transformers_logging):
        each.set_verbosity_error()
        each.disable_progress_bar()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Should have t[ab]")
    warnings.filterwarnings("ignore", message="Already found a `peft_config`")


def _begin(registry: Path) -> None:
    torch.set_num_threads(1)
    hush()
    _STOCK.append(Stock(load_registry(registry)))


def _measure(chosen: ParameterSet) -> Plain:
    """Tensors would cross by file descriptors, of which there are few; arrays cross as bytes."""
    found = measure(_STOCK[0], chosen)
    return found.picture.numpy(), found.effects


def _measure_floor(chosen: ParameterSet) -> Floor:
    return measure_floor(_STOCK[0], chosen)
