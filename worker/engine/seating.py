"""Which rows of a forward each sample has: reproducible ones always have the same."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.engine.order import Order
    from worker.engine.sample import Sample

Rows = tuple[int, ...]


def mark_of(order: Order) -> int:
    """A number that spec and seed decide; the specs of a sweep over one seed get different ones."""
    return zlib.crc32(json.dumps(order.spec.picture(), sort_keys=True).encode())


def seat_of(sample: Sample, limit: int) -> Rows:
    """The rows of a reproducible sample, which its spec and its seed decide.

    What a GPU computes for a row does not depend on what stands in the others, but it does depend on
    where the row stands: its matrix products divide a batch among the multiprocessors, and sum in
    another order where they cut. So a picture that must be bit-equal needs a place of its own, and the
    place must follow from the spec. Seeds that follow each other fill a forward; those of one remainder
    do not all get one seat, nor do many specs with one seed.

    Args:
        limit: rows of the forward: the model's bucket.
    """
    seats = max(1, limit // sample.rows)
    block, place = divmod(sample.order.seed, seats)
    first = (place + zlib.crc32(f"{block} {sample.mark}".encode())) % seats * sample.rows
    return tuple(range(first, first + sample.rows))


class Seating:
    """Fills one forward, first come first served.

    Attributes:
        samples: that have a place.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = set(range(limit))
        self._loose = 0
        self._fixed: dict[int, Rows] = {}
        self.samples: list[Sample] = []

    def offer(self, sample: Sample) -> None:
        """Takes a sample in if there is room and, for a reproducible one, if its own rows are free."""
        if len(self._free) - self._loose < sample.rows:
            return
        if sample.reproducible:
            rows = seat_of(sample, self._limit)
            if not self._free.issuperset(rows):
                return
            self._free.difference_update(rows)
            self._fixed[id(sample)] = rows
        else:
            self._loose += sample.rows
        self.samples.append(sample)

    def rows(self) -> list[Rows]:
        """The rows of each of `samples`; those without a fixed place take the first that are free."""
        left = iter(sorted(self._free))
        return [
            self._fixed.get(id(sample)) or tuple(next(left) for _ in range(sample.rows))
            for sample in self.samples
        ]
