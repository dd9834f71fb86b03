"""Fetches ahead, in order: the objects of a shard come from the store while earlier ones are packed."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from latentfarm.errors import InvalidInput
from latentfarm.logs import get_logger
from worker.patience import patiently
from worker.seal.quality import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from latentfarm.records import ObjectRef
    from latentfarm.storage import ObjectStore
    from worker.seal.quality import Quality
    from worker.sealing.shift import Shift

FETCHERS = 8
AHEAD = 32
AHEAD_BYTES = 64 * 2**20
"""Of files that wait to be packed. Less than one may be as large as it likes."""
MEASURED_AT_ONCE = 2
"""A picture of 2048x2048 takes 100 MB while it is measured."""
GET_LIMIT_S = 600.0
"""So long a store may be away before the shard is left for later."""

T = TypeVar("T")
R = TypeVar("R")


class Gathering:
    """A few threads that fetch for whoever packs."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="gather")
        self._measuring = threading.Semaphore(MEASURED_AT_ONCE)

    def ask(self, work: Callable[[], T]) -> Future[T]:
        """Has something done by a helper."""
        return self._pool.submit(work)

    def fetch(self, ref: ObjectRef, shift: Shift) -> bytes:
        """An object, checked; a store that is away is waited for.

        Raises:
            LatentsError: it is not there, or not what was put.
            TransientError: the store was away for too long.
            Interrupted: the shift is over.
        """
        return patiently(
            lambda: self._store.get(ref), what=f"get {ref.key}", limit_s=GET_LIMIT_S, stopping=shift.over
        )

    def image(self, ref: ObjectRef, shift: Shift) -> tuple[bytes, Quality | None]:
        """An image and its measures; None where Pillow cannot read what a worker has put, bit for bit.

        Packing it again would change nothing; the index tells of it by having no measures.

        Raises:
            LatentsError: as `fetch`.
        """
        data = self.fetch(ref, shift)
        with self._measuring:
            try:
                return data, measure(data)
            except InvalidInput as error:
                get_logger().warning("image_unreadable", key=ref.key, error=error.message)
                return data, None

    def ahead(
        self,
        items: Iterable[tuple[T, ObjectRef | None]],
        fetch: Callable[[ObjectRef, Shift], R],
        shift: Shift,
    ) -> Iterator[tuple[T, R | None]]:
        """Each item with what `fetch` gave for its object, in order; None where it has no object.

        Raises:
            Abandoned: the shift is over.
        """
        waiting: deque[tuple[T, ObjectRef | None, Future[R] | None]] = deque()
        size = 0
        try:
            for item, ref in items:
                answer = None if ref is None else self._pool.submit(fetch, ref, shift)
                waiting.append((item, ref, answer))
                size += ref.size if ref else 0
                while len(waiting) > AHEAD or (size > AHEAD_BYTES and len(waiting) > 1):
                    first, held, fetched = waiting.popleft()
                    size -= held.size if held else 0
                    yield first, None if fetched is None else shift.wait(fetched)
            while waiting:
                first, _, fetched = waiting.popleft()
                yield first, None if fetched is None else shift.wait(fetched)
        finally:
            for _, _, fetched in waiting:
                if fetched is not None:
                    fetched.cancel()
