"""The three ways in which the farm renders each set: alone, among others, and with a bucket of one."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.equality.comparison import Comparison
from benchmarks.equality.models import ALONE
from benchmarks.equality.queues import RefusedError
from latentfarm.errors import LatentfarmError
from latentfarm.states import Lane

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    import torch

    from benchmarks.equality.pool import Pool
    from benchmarks.equality.queues import Queues
    from benchmarks.equality.sets import ParameterSet

EVERY = 25
"""Sets between two lines of progress."""


class Passes:
    """Renders sets with the farm, while a pool renders them with stock.

    Args:
        quick: measures the floor of those sets alone whose pictures are more than rounding off.
        say: whether to print progress to stderr.
    """

    def __init__(self, queues: Queues, pool: Pool, *, quick: bool, say: bool) -> None:
        self._queues = queues
        self._pool = pool
        self._quick = quick
        self._say = say
        self._started = time.perf_counter()

    def compare(self, drawn: Sequence[ParameterSet], seed: int) -> list[Comparison]:
        """All three ways, beside stock.

        Args:
            seed: of the order in which they are mixed.
        """
        found = [Comparison(number, chosen) for number, chosen in enumerate(drawn)]
        self._say_now("the farm is up")
        for chosen in drawn:
            self._pool.submit(chosen)
        for one in found:
            one.alone = self._pixels(self._submit(one), one)
            self._progress("alone", one.number)
        mixture = random.Random(seed).sample(found, len(found))
        for count, (one, pixels) in enumerate(self._together(mixture)):
            one.mixed = pixels
            self._progress("together", count)
        for count, (one, pixels) in enumerate(self._together(found, ALONE)):
            one.single = pixels
            self._progress("with a bucket of one", count)
        for one in found:
            self._measured(one)
            self._progress("by stock", one.number)
        wanted = [one for one in found if one.measured and (one.needs_floor or not self._quick)]
        for one, floor in zip(wanted, self._pool.floors([one.chosen for one in wanted]), strict=True):
            one.floor = floor
        self._say_now(f"{len(wanted)} floors measured")
        return found

    def _together(
        self, found: Sequence[Comparison], ending: str = ""
    ) -> Iterator[tuple[Comparison, torch.Tensor | None]]:
        """Hands in all sets, and then gives each image."""
        jobs = [(one, self._submit(one, ending)) for one in found]
        for one, job in jobs:
            yield one, self._pixels(job, one)

    def _submit(self, one: Comparison, ending: str = "") -> uuid.UUID | LatentfarmError:
        chosen = one.chosen
        fields = {"model": chosen.given.model + ending, "reproducible": not ending, "lane": Lane.BULK}
        try:
            return self._queues.submit(
                chosen.given.model_copy(update=fields), chosen.seed, uploads=chosen.uploads
            )
        except LatentfarmError as error:
            return error

    def _pixels(self, job: uuid.UUID | LatentfarmError, one: Comparison) -> torch.Tensor | None:
        try:
            if isinstance(job, LatentfarmError):
                raise job
            return self._queues.pixels(job)
        except (LatentfarmError, RefusedError, TimeoutError) as error:
            one.error = str(error)
            return None

    def _measured(self, one: Comparison) -> None:
        """What the farm accepts stock must be able to do."""
        try:
            one.measured = self._pool.result(one.number)
        except Exception as error:  # noqa: BLE001 - whatever stock raises is a finding
            one.error = f"stock: {type(error).__name__}: {error}"

    def _progress(self, how: str, index: int) -> None:
        if (index + 1) % EVERY == 0:
            self._say_now(f"{index + 1} sets rendered {how}; stock has measured {self._pool.done}")

    def _say_now(self, what: str) -> None:
        if self._say:
            print(f"{time.perf_counter() - self._started:.0f} s: {what}", file=sys.stderr, flush=True)
