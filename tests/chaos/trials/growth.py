"""How fast the memory of each process grows over its life, in a row of samples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import linear_regression
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.trials.census import Sample

MIB = 1 << 20
SQL = ("postgres", "session")
WARM_S = 60.0
"""Of each life: imports, pools and caches fill up to what is usual."""
LEAST_RENDERS = 1_000
"""Of the farm, within a life that is judged, after it was warm."""
LEAST_SAMPLES = 8
LONG_RENDERS = 10_000
"""A longer life is judged by its second half: what leaks goes on leaking, and a cache that fills is full by then."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth of one process in its life: MiB in 1,000 renders of the whole farm."""

    role: str
    life: str
    mib: float
    renders: int


def slopes(samples: Iterable[Sample]) -> list[Slope]:
    """Of every life that was long enough."""
    lives: dict[tuple[str, str], list[tuple[float, int, float]]] = defaultdict(list)
    for sample in samples:
        if sample["done"] is None:
            continue
        for process in sample["processes"]:
            size = _size(process, sample)
            if size is not None:
                lives[process["role"], process["life"]].append((sample["t"], sample["done"], size))
    found = [_slope(*name, points) for name, points in lives.items()]
    return [slope for slope in found if slope is not None]


def _size(process: Sample, sample: Sample) -> float | None:
    """Bytes. PostgreSQL maps the buffers that all share, page after page; and see store.py."""
    if process["role"] == "s3":
        return sample.get("store_bytes")
    return process["own" if process["role"] in SQL else "rss"]  # type: ignore[no-any-return]  # out of JSON


def _slope(role: str, life: str, points: list[tuple[float, int, float]]) -> Slope | None:
    warm = [point for point in points if point[0] >= points[0][0] + WARM_S]
    if warm and warm[-1][1] - warm[0][1] > LONG_RENDERS:
        middle = (warm[0][1] + warm[-1][1]) / 2
        warm = [point for point in warm if point[1] >= middle]
    if len(warm) < LEAST_SAMPLES or warm[-1][1] - warm[0][1] < LEAST_RENDERS:
        return None
    thousands = [done / 1000 for _, done, _ in warm]
    line = linear_regression(thousands, [size / MIB for _, _, size in warm])
    return Slope(role, life, round(line.slope, 3), warm[-1][1] - warm[0][1])
