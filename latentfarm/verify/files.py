"""Looks at the files of datasets: shards, their indexes, and what lies at the top. Reads each as a stream."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from latentfarm.verify.trouble import Kind, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.records import ObjectRef
    from latentfarm.storage import S3Store


def inspect_files(store: S3Store, refs: Iterator[ObjectRef]) -> Iterator[Trouble | None]:
    """What is wrong with each of some files; None for one that is sound.

    Raises:
        TransientError: the store did not answer.
    """
    for ref in refs:
        size = store.size(ref.key)
        if size is None:
            yield Trouble(Kind.MISSING, ref.key, "is not in the bucket, and its images are in no other place")
        elif size != ref.size:
            yield Trouble(Kind.ALTERED, ref.key, f"has {size} bytes and not {ref.size}")
        elif _digest(store, ref.key) != ref.sha256:
            yield Trouble(Kind.ALTERED, ref.key, "has another SHA-256")
        else:
            yield None


def _digest(store: S3Store, key: str) -> bytes:
    found = hashlib.sha256()
    for chunk in store.stream(key, 1 << 20):
        found.update(chunk)
    return found.digest()
