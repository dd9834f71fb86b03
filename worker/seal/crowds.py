"""Which hashes of a run may be near another one at all: nearly all of a million are near none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.seal.duplicates import BANDS, PHASH_DISTANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Flags = NDArray[np.bool_]

LEAST_CROWD = 1_024
"""Hashes that share a part and are compared each with each all the same."""
CROWDED = 8
"""So many times what chance makes of it is a crowd: pictures that look alike by the thousand."""


def with_company(hashes: Hashes, go_on: Callable[[], object]) -> Flags:
    """True for every hash that has another one within `PHASH_DISTANCE` bits, and for all of a crowd.

    Those that share a part are compared each with each, which costs the square of their number: a million hashes by
    chance make 300 million pairs. Where more share one than chance would have it they are left to whoever compares
    with first ones only.

    Args:
        hashes: `[n]`.
        go_on: called between two comparisons of n hashes.
    """
    found = np.zeros(len(hashes), np.bool_)
    for offset, width in BANDS:
        parts = (hashes >> np.uint64(offset) & np.uint64((1 << width) - 1)).astype(np.uint16)
        counts = np.bincount(parts, minlength=1 << width)
        crowded = counts > max(LEAST_CROWD, CROWDED * len(hashes) >> width)
        found |= crowded[parts]
        order = np.argsort(parts, kind="stable")
        order = order[~crowded[parts[order]]]
        _compare(hashes[order], parts[order], order, found, go_on)
    return found


def _compare(hashes: Hashes, parts: Any, order: Any, found: Flags, go_on: Callable[[], object]) -> None:
    """Each with the one that is `step` further on, as long as that shares the part."""
    places = np.arange(len(hashes))
    step = 0
    while len(places):
        go_on()
        step += 1
        places = places[: np.searchsorted(places, len(hashes) - step)]
        places = places[parts[places] == parts[places + step]]
        near = places[np.bitwise_count(hashes[places] ^ hashes[places + step]) <= PHASH_DISTANCE]
        found[order[near]] = True
        found[order[near + step]] = True
