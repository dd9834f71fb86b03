"""Which weights made the images of a run, as the indexes of its shards have it from the workers."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ = ["model", "model_hash", "refiner_hash"]


class Makers:
    """Hashes by model. A run has few, whatever the number of its images."""

    def __init__(self) -> None:
        self._bases: defaultdict[str, set[str]] = defaultdict(set)
        self._refiners: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, index: bytes) -> None:
        """Take the rows of a shard.

        Args:
            index: the file's bytes.
        """
        table = pq.read_table(pa.BufferReader(index), columns=_READ)
        for row in table.group_by(_READ).aggregate([]).to_pylist():
            for found, column in ((self._bases, "model_hash"), (self._refiners, "refiner_hash")):
                if row[column]:
                    found[row["model"]].add(row[column])

    def hashes(self) -> Mapping[str, tuple[str, str]]:
        """Of each model that of its base and that of its refiner, hex; several are joined, none is empty."""
        names = sorted(self._bases.keys() | self._refiners.keys())
        return {name: (_joined(self._bases[name]), _joined(self._refiners[name])) for name in names}


def _joined(hashes: set[str]) -> str:
    return " and ".join(sorted(hashes))
