"""What the manifest said of each image, read out of the spool that the first pass left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.manifests.parts import read_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from latentfarm.manifests.sample import Sample
    from latentfarm.records import ObjectRef

KEPT = 2
"""Parts that stay decoded: shards that follow each other are of the same one, or of two neighbours."""


class Spool:
    """Samples by ordinal. Of one thread at a time.

    Args:
        fetch: the bytes of an object, checked.
    """

    def __init__(self, fetch: Callable[[ObjectRef], bytes]) -> None:
        self._fetch = fetch
        self._parts: dict[bytes, list[Sample]] = {}

    def samples(self, parts: Sequence[ObjectRef], ordinals: Iterable[int]) -> Iterator[Sample]:
        """The samples with these ordinals, which rise.

        Args:
            parts: that hold them, in order; each is read when its first sample is asked for.

        Raises:
            LookupError: an ordinal is in none of them.
        """
        left = iter(parts)
        part: list[Sample] = []
        for ordinal in ordinals:
            while not part or ordinal > part[-1].ordinal:
                found = next(left, None)
                if found is None:
                    raise LookupError(f"image {ordinal} is in no part of the spool")
                part = self._read(found)
            yield part[ordinal - part[0].ordinal]

    def _read(self, ref: ObjectRef) -> list[Sample]:
        found = self._parts.pop(ref.sha256, None)
        if found is None:
            found = list(read_part(self._fetch(ref)))
        self._parts[ref.sha256] = found
        while len(self._parts) > KEPT:
            del self._parts[next(iter(self._parts))]
        return found
