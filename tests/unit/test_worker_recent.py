"""Latents that come from memory: those that were put here, once, and no others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import TransientError
from latentfarm.keys import checkpoint_key, image_key, latents_key
from latentfarm.records import ObjectRef
from worker.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence


class Bucket:
    """Objects in a dictionary; counts what is read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.read: list[str] = []
        self.away = False

    def put(self, key: str, data: bytes, content_type: str) -> ObjectRef:
        del content_type
        if self.away:
            raise TransientError("away")
        self.objects[key] = data
        return ObjectRef(key, hashlib.sha256(data).digest(), len(data))

    def get(self, ref: ObjectRef) -> bytes:
        self.read.append(ref.key)
        return self.objects[ref.key]

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            del self.objects[key]


def test_latents_are_in_the_bucket_and_read_from_memory_once() -> None:
    bucket = Bucket()
    store = Recent(bucket)
    ref = store.put(latents_key(1, 2), b"latents", "x/x")
    assert bucket.objects == {latents_key(1, 2): b"latents"}
    assert [store.get(ref), bucket.read] == [b"latents", []]
    assert [store.get(ref), bucket.read] == [b"latents", [ref.key]]


@pytest.mark.parametrize("key", [image_key(1, 2, "png"), checkpoint_key(1, 2, 3)])
def test_nothing_else_is_remembered(key: str) -> None:
    bucket = Bucket()
    store = Recent(bucket)
    store.get(store.put(key, b"bytes", "x/x"))
    assert bucket.read == [key]


def test_other_bytes_under_the_same_key_are_asked_of_the_bucket() -> None:
    bucket = Bucket()
    store = Recent(bucket)
    first = store.put(latents_key(1, 2), b"first", "x/x")
    bucket.put(first.key, b"second", "x/x")
    asked = ObjectRef(first.key, hashlib.sha256(b"second").digest(), 6)
    assert store.get(asked) == b"second"
    assert bucket.read == [first.key]


def test_what_was_not_put_is_not_remembered() -> None:
    bucket = Bucket()
    bucket.away = True
    store = Recent(bucket)
    with pytest.raises(TransientError):
        store.put(latents_key(1, 2), b"latents", "x/x")
    with pytest.raises(KeyError):
        store.get(ObjectRef(latents_key(1, 2), hashlib.sha256(b"latents").digest(), 7))


def test_the_oldest_are_forgotten_above_the_limit() -> None:
    bucket = Bucket()
    store = Recent(bucket, limit=20)
    refs = [store.put(latents_key(number, 2), bytes(10), "x/x") for number in range(3)]
    store.put(latents_key(2, 2), bytes(10), "x/x")  # once more: it counts once
    for ref in refs:
        store.get(ref)
    assert bucket.read == [latents_key(0, 2)]
