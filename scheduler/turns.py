"""Whose manifest is checked next: each tenant's in its turn, and of large ones one at a time."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latentfarm.errors import LatentfarmError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from latentfarm.repository.sets import Dataset

LARGE = 2_000_000
"""Images of a manifest from which on it is large: the ids of ten millions take 300 MB while they are compared."""


class Postponed(LatentfarmError):  # noqa: N818 - names a state
    """Nothing is wrong: a check was left for later, and will be begun again."""


class Turns:
    """Shared by the threads that check manifests in one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checked: set[str] = set()
        """Tenants of which a manifest is being checked."""
        self._served: dict[str, int] = {}
        """When a tenant had its last turn, of those that wait."""
        self._count = itertools.count(1)
        self._large: UUID | None = None
        self._known_large: set[UUID] = set()

    def in_order(self, waiting: Sequence[Dataset]) -> list[Dataset]:
        """Tenants whose last turn is longest ago first; of each its oldest dataset first."""
        with self._lock:
            tenants = {one.tenant for one in waiting} | self._checked
            self._served = {tenant: turn for tenant, turn in self._served.items() if tenant in tenants}
            return sorted(waiting, key=lambda one: (self._served.get(one.tenant, 0), one.id))

    @contextmanager
    def held(self, dataset: Dataset) -> Iterator[bool]:
        """A turn for a dataset; False where its tenant has one, or a large one is checked that it would add to."""
        with self._lock:
            mine = dataset.tenant not in self._checked
            if dataset.id in self._known_large:
                mine = mine and self._large is None
            if mine:
                self._checked.add(dataset.tenant)
                self._served[dataset.tenant] = next(self._count)
                if dataset.id in self._known_large:
                    self._large = dataset.id
        try:
            yield mine
        finally:
            if mine:
                self._leave(dataset)

    def grown(self, dataset: Dataset, images: int) -> None:
        """A manifest that is being checked has so many images by now.

        Raises:
            Postponed: it is large, and so is another one; it has to be begun again after that.
        """
        if images <= LARGE or self._large == dataset.id:
            return
        with self._lock:
            if self._large is None:
                self._large = dataset.id
                return
            self._known_large.add(dataset.id)
        raise Postponed(
            "the manifest is large, and another large one is being checked; it is read again after that"
        )

    def _leave(self, dataset: Dataset) -> None:
        with self._lock:
            self._checked.discard(dataset.tenant)
            if self._large == dataset.id:
                self._large = None
                self._known_large.discard(dataset.id)
