"""Which images of a run look like an earlier one, without comparing each with each."""

from __future__ import annotations

from array import array
from collections import defaultdict

import numpy as np

PHASH_DISTANCE = 4
"""Bits of 64. JPEG as the farm writes it turns 0 to 4 of them; two unrelated pictures differ in some 32."""
COLOUR_DISTANCE = 8
"""Levels of a channel's mean: a hash of greys cannot tell a red ball from a green one."""
BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
"""Offset and width of five parts of a hash. Four turned bits leave one of five parts as it was."""


class NearDuplicates:
    """The looks of a run, in the order in which they are added. 40 bytes an image and a few MB besides.

    An image is compared with those only that share one of five parts of its hash: one in 1,400 of unrelated ones.
    """

    def __init__(self) -> None:
        self._ordinals = array("q")
        self._hashes = array("Q")
        self._colours = array("I")
        self._bands: list[defaultdict[int, array[int]]] = [defaultdict(lambda: array("I")) for _ in BANDS]

    def __len__(self) -> int:
        return len(self._ordinals)

    def add(self, ordinal: int, phash: int, colour: int) -> int | None:
        """Ordinal of the first image added that looks the same, if any; and remember this one if there is none.

        One that has an original is not remembered: its likes find the original, or are no likes of it.
        A uniform image has no hash, and is nobody's duplicate.

        Args:
            ordinal: of the image.
            phash: `Quality.phash`.
            colour: `Quality.colour`.
        """
        parts = [phash >> offset & (1 << width) - 1 for offset, width in BANDS]
        found = self._first(parts, phash, colour)
        if found is not None:
            return found
        place = len(self._hashes)
        self._ordinals.append(ordinal)
        self._hashes.append(phash)
        self._colours.append(colour)
        for band, part in zip(self._bands, parts, strict=True):
            band[part].append(place)
        return None

    def _first(self, parts: list[int], phash: int, colour: int) -> int | None:
        known = [
            np.frombuffer(band[part], np.uint32)
            for band, part in zip(self._bands, parts, strict=True)
            if part in band
        ]
        if not known:
            return None
        places = np.concatenate(known)
        # The views are let go of on return: an array that is looked at cannot grow.
        differing = np.bitwise_count(np.frombuffer(self._hashes, np.uint64)[places] ^ np.uint64(phash))
        near = places[differing <= PHASH_DISTANCE].tolist()
        alike = [place for place in near if _near(self._colours[place], colour)]
        return self._ordinals[min(alike)] if alike else None


def _near(left: int, right: int) -> bool:
    return all(abs((left >> shift & 255) - (right >> shift & 255)) <= COLOUR_DISTANCE for shift in (16, 8, 0))
