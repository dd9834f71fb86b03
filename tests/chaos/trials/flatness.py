"""What should be flat over the whole time of a trial: files, connections, keys, tables."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.trials.census import Sample

    Value = Callable[[Sample], float | None]

PAGE = 8192
"""What PostgreSQL's tables are made of."""
SHARE, SPARE = 1.10, 5.0
"""Flat: at the end at most so many times what there was before, or so many more."""
SPARE_PAGES = 16.0
GROWING, LEAST_ROWS = 1.2, 100
"""A table that has so many times as many rows at the end grows with the work, and its rows are what counts."""


@dataclass(frozen=True, slots=True)
class Level:
    """Medians of the second and of the last quarter of a trial."""

    before: float
    after: float
    spare: float = SPARE

    @property
    def pair(self) -> list[float]:
        """Both, for a report."""
        return [self.before, self.after]

    @property
    def most(self) -> float:
        """What there may be at the end, noise and all."""
        return round(max(SHARE * self.before, self.before + self.spare), 1)


def level(samples: list[Sample], value: Value, spare: float = SPARE) -> Level:
    """Of one figure; samples that lack it are passed over."""
    quarter = len(samples) // 4
    parts = (samples[quarter : 2 * quarter], samples[3 * quarter :])
    before, after = (_median([value(sample) for sample in part]) for part in parts)
    return Level(before, after, spare)


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
        # Helpers of PostgreSQL keep each file of the database open: those are counted beside these.
        if role != "postgres":
            found[f"{role}: files"] = level(samples, _most(role, "files"))
    for table in tables:
        if _grows(samples, table):
            found[f"table {table}, bytes for each row"] = level(samples, _per_row(table))
        else:
            found[f"table {table}, pages"] = level(samples, _cell(table, "bytes", PAGE), SPARE_PAGES)
    return found


def threads(samples: list[Sample]) -> dict[str, Level]:
    """Of each role. Pools start theirs as they come to need them, so these are told of and not held."""
    roles = sorted({process["role"] for sample in samples for process in sample["processes"]})
    return {role: level(samples, _most(role, "threads")) for role in roles}


def most_files(samples: list[Sample], role: str) -> int:
    """That any process of a role had open at any time."""
    return max(
        (one["files"] for sample in samples for one in sample["processes"] if one["role"] == role), default=0
    )


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
    return rows.after > GROWING * rows.before and rows.after > LEAST_ROWS
