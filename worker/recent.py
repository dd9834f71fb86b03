"""An object store that hands latents back from memory where base and refiner are in one process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from latentfarm.keys import is_latents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.records import ObjectRef
    from latentfarm.storage import ObjectStore

LIMIT = 64 << 20
"""Bytes that are remembered: 256 latents of 1024x1024 in float32."""


class Recent:
    """An `ObjectStore` that remembers the latents it has put, each until it is read. Thread-safe.

    They are in the bucket all the same: another worker may refine them, and users may keep them. Their SHA-256 is
    part of what is asked for, so what comes from memory is what SQL knows of.

    Args:
        limit: bytes; the oldest latents are forgotten above it.
    """

    def __init__(self, store: ObjectStore, limit: int = LIMIT) -> None:
        self._store = store
        self._limit = limit
        self._held = 0
        self._known: OrderedDict[ObjectRef, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, content_type: str) -> ObjectRef:
        """See `ObjectStore.put`."""
        ref = self._store.put(key, data, content_type)
        if is_latents(key):
            with self._lock:
                self._forget(ref)
                self._known[ref] = data
                self._held += ref.size
                while self._held > self._limit:
                    self._forget(next(iter(self._known)))
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        """See `ObjectStore.get`."""
        with self._lock:
            known = self._forget(ref)
        return self._store.get(ref) if known is None else known

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore.delete`."""
        self._store.delete(keys)

    def _forget(self, ref: ObjectRef) -> bytes | None:
        known = self._known.pop(ref, None)
        self._held -= 0 if known is None else ref.size
        return known
