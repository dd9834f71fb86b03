"""Sets of 64-bit marks in flat arrays: ids of millions of samples in a few bytes each."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST = 1 << 12
_MASK = 2**64 - 1


class Seen:
    """What was seen before, and at which line: open addressing, at most two thirds full.

    Values are known by Python's own hash, which is keyed anew in every process. Among ten million values
    two that differ share one with a chance of three in a million.

    Args:
        lines: whether lines are kept too, 4 bytes each.
    """

    def __init__(self, *, lines: bool) -> None:
        self._marks = array("Q", bytes(8 * _FIRST))
        self._lines = array("I", bytes(4 * _FIRST)) if lines else None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, value: str | bytes) -> int | None:
        """The line at which a value was added (0 without lines); None: it was not."""
        mark = _mark(value)
        slot = self._slot(mark)
        if self._marks[slot] != mark:
            return None
        return 0 if self._lines is None else self._lines[slot]

    def add(self, value: str | bytes, line: int = 0) -> int | None:
        """Adds a value; where it was added before, it stays as it is, and its line is told."""
        mark = _mark(value)
        slot = self._slot(mark)
        if self._marks[slot] == mark:
            return 0 if self._lines is None else self._lines[slot]
        self._marks[slot] = mark
        if self._lines is not None:
            self._lines[slot] = line & 0xFFFFFFFF
        self._count += 1
        if self._count * 3 > len(self._marks) * 2:
            self._grow()
        return None

    def _slot(self, mark: int) -> int:
        """Where a mark is, or would go."""
        marks = self._marks
        last = len(marks) - 1
        slot = mark & last
        while (found := marks[slot]) and found != mark:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        before, lines = self._marks, self._lines
        self._marks = array("Q", bytes(16 * len(before)))
        if lines is not None:
            self._lines = array("I", bytes(8 * len(before)))
        for old, mark in _taken(before):
            slot = self._slot(mark)
            self._marks[slot] = mark
            if lines is not None and self._lines is not None:
                self._lines[slot] = lines[old]


def _mark(value: str | bytes) -> int:
    return (hash(value) & _MASK) or 1  # 0 is an empty slot


def _taken(marks: array[int]) -> Iterator[tuple[int, int]]:
    return ((slot, mark) for slot, mark in enumerate(marks) if mark)
