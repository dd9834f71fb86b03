"""Where samples go as they are checked: digest, counts and parts, with one part in memory."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from latentfarm.errors import ManifestError
from latentfarm.manifests.checked import Part
from latentfarm.manifests.parts import PART_BYTES, PART_SAMPLES, line_of, pack
from latentfarm.manifests.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.manifests.sample import Sample
    from latentfarm.records import ObjectRef

ALLOWED = "the same rows, and more after them; or another name"
FIRST = 10
"""Samples that are kept, for people to look at."""


class Spool:
    """Takes samples in order.

    Args:
        put_part: stores part `number`.
        previous: images and digest that the first samples must have.
    """

    def __init__(
        self, put_part: Callable[[int, bytes], ObjectRef], previous: tuple[int, bytes] | None
    ) -> None:
        self._put_part = put_part
        self._previous = previous
        self._digest = hashlib.sha256()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._pictures = Seen(lines=False)
        self.images = 0
        self.duplicates = 0
        self.parts: list[Part] = []
        self.first: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Takes the next sample.

        Raises:
            ManifestError: the samples so far are not those of the earlier run.
        """
        line = line_of(sample)
        self._digest.update(line)
        self._lines.append(line)
        self._bytes += len(line)
        if len(self.first) < FIRST:
            self.first.append(sample)
        if self._pictures.add(sample.digest + sample.seed.to_bytes(8)) is not None:
            self.duplicates += 1
        self.images += 1
        if self._previous is not None and self.images == self._previous[0]:
            self._compare(self._previous[1])
        if len(self._lines) == PART_SAMPLES or self._bytes >= PART_BYTES:
            self._flush()

    def end(self) -> bytes:
        """Stores what is left; the digest of all lines.

        Raises:
            ManifestError: fewer samples than the earlier run had.
        """
        if self._previous is not None and self.images < self._previous[0]:
            message = f"gives {self.images} images, and the run of this name has {self._previous[0]}"
            raise ManifestError("manifest", message, ALLOWED, code="changed")
        if self._lines:
            self._flush()
        return self._digest.digest()

    def _compare(self, digest: bytes) -> None:
        if self._digest.digest() != digest:
            message = f"has changed: its first {self.images} images are not those of the run of this name"
            raise ManifestError("manifest", message, ALLOWED, code="changed")

    def _flush(self) -> None:
        number = len(self.parts)
        ref = self._put_part(number, pack(self._lines))
        count = len(self._lines)
        self.parts.append(Part(number, ref, self.images - count, count))
        self._lines, self._bytes = [], 0
