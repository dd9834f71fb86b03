"""What grows in a row of samples: memory over the life of a process, and what should be flat over the whole time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.chaos.trials.census import Sample

    Value = Callable[[Sample], float | None]

MIB = 1 << 20
PAGE = 8192
"""What PostgreSQL's tables are made of."""
WARM_S = 60.0
"""Of each life: imports, pools and caches fill up to what is usual."""
LEAST_RENDERS = 1_000
"""Of the farm, within a life that is judged, after it was warm."""
LEAST_SAMPLES = 8
SHARE, SPARE = 1.10, 5.0
"""Flat: at the end at most so many times what there was before, and so many more."""
GROWING = 1.2
"""A table that has so many times as many rows at the end grows with the work, and its rows are what counts."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth of one process in its life: MiB in 1,000 renders of the whole farm."""

    role: str
    life: str
    mib: float
    renders: int


def slopes(samples: Iterable[Sample]) -> list[Slope]:
    """Of every life that was long enough.

    A session of PostgreSQL maps the buffers that all share, page after page: only what is its own counts.
    """
    lives: dict[tuple[str, str], list[tuple[float, int, int]]] = defaultdict(list)
    for sample in samples:
        if sample["done"] is None:
            continue
        for process in sample["processes"]:
            size = process["uss" if process["role"] == "postgres" else "rss"]
            lives[process["role"], process["life"]].append((sample["t"], sample["done"], size))
    found = [_slope(*name, points) for name, points in lives.items()]
    return [slope for slope in found if slope is not None]


def _slope(role: str, life: str, points: list[tuple[float, int, int]]) -> Slope | None:
    warm = [point for point in points if point[0] >= points[0][0] + WARM_S]
    if len(warm) < LEAST_SAMPLES or warm[-1][1] - warm[0][1] < LEAST_RENDERS:
        return None
    thousands = [done / 1000 for _, done, _ in warm]
    line = linear_regression(thousands, [size / MIB for _, _, size in warm])
    return Slope(role, life, round(line.slope, 3), warm[-1][1] - warm[0][1])


@dataclass(frozen=True, slots=True)
class Level:
    """Medians of the second and of the last quarter of a trial."""

    before: float
    after: float

    @property
    def most(self) -> float:
        """What there may be at the end, noise and all."""
        return round(max(SHARE * self.before, self.before + SPARE), 1)


def level(samples: list[Sample], value: Value) -> Level:
    """Of one figure; samples that lack it are passed over."""
    quarter = len(samples) // 4
    parts = (samples[quarter : 2 * quarter], samples[3 * quarter :])
    return Level(*(_median([value(sample) for sample in part]) for part in parts))


def _median(values: list[float | None]) -> float:
    there = [found for found in values if found is not None]
    return round(median(there), 1) if there else float("nan")


def levels(samples: list[Sample]) -> dict[str, Level]:
    """All that should be flat."""
    roles = sorted({process["role"] for sample in samples for process in sample["processes"]})
    tables = sorted({name for sample in samples for name in sample.get("tables", {})})
    found = {
        "connections to PostgreSQL": level(samples, _field("sql_connections")),
        "connections to Redis": level(samples, _field("redis_connections")),
        "Redis keys": level(samples, _field("redis_keys")),
        "memory of Redis, KiB": level(samples, _field("redis_memory", 1024)),
    }
    for role in roles:
        for part in ("files", "threads"):
            found[f"{role}: {part}"] = level(samples, _most(role, part))
    for table in tables:
        grows = _grows(samples, table)
        name = f"table {table}, {'bytes for each row' if grows else 'pages'}"
        found[name] = level(samples, _per_row(table) if grows else _cell(table, "bytes", PAGE))
    return found


def _field(name: str, unit: int = 1) -> Value:
    def value(sample: Sample) -> float | None:
        return sample[name] / unit if name in sample else None

    return value


def _most(role: str, part: str) -> Value:
    """Of the process that has most: one that leaks is not hidden by others that do not."""

    def value(sample: Sample) -> float | None:
        return max((one[part] for one in sample["processes"] if one["role"] == role), default=None)

    return value


def _cell(table: str, part: str, unit: int = 1) -> Value:
    def value(sample: Sample) -> float | None:
        row = sample.get("tables", {}).get(table)
        return row[part] / unit if row else None

    return value


def _per_row(table: str) -> Value:
    def value(sample: Sample) -> float | None:
        row = sample.get("tables", {}).get(table)
        return row["bytes"] / row["rows"] if row and row["rows"] else None

    return value


def _grows(samples: list[Sample], table: str) -> bool:
    rows = level(samples, _cell(table, "rows"))
    return rows.after > GROWING * rows.before and rows.after > LEAST_RENDERS
