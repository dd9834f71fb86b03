"""Follows a dataset to its end: a live view in a terminal, lines without one."""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol, Self

from latentfarm.cli.dataset_shown import duration, state_of
from latentfarm.cli.follow import Interrupted
from latentfarm.cli.output import complain

if TYPE_CHECKING:
    from latentfarm.client import Client
    from latentfarm.dataset_views import DatasetView

LOOK_S = 1.0
SPAN_S = 60.0
"""Seconds that the rate is taken over."""


class Pace:
    """Images per second over the last minute, out of counts that were seen."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def take(self, now: float, ended: int) -> None:
        """Notes how many images have ended; fewer than before begin anew."""
        if self._seen and ended < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[1][0] >= SPAN_S:
            self._seen.popleft()

    def rate(self) -> float | None:
        """None until an image has ended since the first look."""
        if not self._seen:
            return None
        (began, before), (now, ended) = self._seen[0], self._seen[-1]
        return (ended - before) / (now - began) if ended > before and now > began else None


class Screen(Protocol):
    """Where a dataset is shown."""

    def show(self, dataset: DatasetView, rate: float | None) -> None:
        """Shows it as it is now."""


def follow(client: Client, name: str) -> DatasetView:
    """Returns the dataset once it has ended.

    Raises:
        Interrupted: Ctrl-C; the dataset goes on.
    """
    pace = Pace()
    try:
        with _screen() as screen:
            while True:
                dataset = client.datasets.get(name)
                pace.take(time.monotonic(), dataset.counts.ended)
                screen.show(dataset, pace.rate())
                if dataset.is_final:
                    return dataset
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        complain(f"the dataset goes on; see `latentfarm dataset watch {name}`, or cancel it")
        raise Interrupted from None


def line_of(dataset: DatasetView, rate: float | None) -> str:
    """All in one line."""
    counts = dataset.counts
    parts = [
        state_of(dataset),
        f"{counts.ended}/{counts.images} images",
        f"{counts.sealed}/{counts.shards} shards",
        *speed_of(dataset, rate),
        *(f"{number} failed: {kind}" for kind, number in dataset.failures.items()),
    ]
    return ", ".join(parts)


def speed_of(dataset: DatasetView, rate: float | None) -> list[str]:
    """Images per second and what is left at that rate: of the last minute, else since the beginning."""
    used = rate or dataset.rate.images_per_second
    if not used or dataset.is_final or dataset.state == "paused":
        return []
    left = dataset.counts.images - dataset.counts.ended
    return [f"{used:.2f} images/s", f"{duration(left / used)} left"]


class _Lines:
    """A line whenever something has changed."""

    def __init__(self) -> None:
        self._last: object = None

    def show(self, dataset: DatasetView, rate: float | None) -> None:
        now = (dataset.state, dataset.phase, dataset.counts)
        if now != self._last:
            self._last = now
            complain(line_of(dataset, rate))


class _Live:
    """A bar with what there is to know below it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, dataset: DatasetView, rate: float | None) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        counts = dataset.counts
        table = Table.grid(padding=(0, 2))
        rows = [
            ("state", state_of(dataset)),
            ("images", f"{counts.ended} of {counts.images}, {counts.queued} wait"),
            ("shards", f"{counts.sealed} of {counts.shards} sealed"),
            ("speed", ", ".join(speed_of(dataset, rate)) or dataset.rate.basis),
            ("device seconds", f"{dataset.device_seconds:.0f}"),
            *((f"failed: {kind}", str(number)) for kind, number in dataset.failures.items()),
        ]
        for row in rows:
            table.add_row(*map(Text, row))  # plain: what a worker says is no markup
        bar = ProgressBar(total=max(counts.images, 1), completed=counts.ended)
        self._live.update(Group(Text(dataset.name), bar, table), refresh=True)


def _screen() -> AbstractContextManager[Screen]:
    return _Live() if sys.stderr.isatty() else nullcontext(_Lines())
