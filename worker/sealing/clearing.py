"""Deletes the single images of shards as soon as these are committed.

The scheduler's collector would, too, and does what this leaves: but it takes hundreds at a time, between its
other duties, and a million images would lie beside their shards for hours.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.errors import TransientError
from latentfarm.logs import get_logger
from latentfarm.repository.sweeping import forget_objects, going_objects

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import ObjectStore

BATCH = 1_000
"""Of one request to S3, and of one transaction."""


class Clearing(threading.Thread):
    """Sleeps until it is woken, then deletes all that is going."""

    def __init__(self, repository: Repository, store: ObjectStore) -> None:
        super().__init__(name="clearing", daemon=True)
        self._repository = repository
        self._store = store
        self._woken = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """A shard was committed. Returns at once."""
        self._woken.set()

    def run(self) -> None:
        """Until stopped. Trouble is left to the collector, and to the next shard."""
        while True:
            self._woken.wait()
            self._woken.clear()
            if self._stopping.is_set():
                return
            try:
                while not self._stopping.is_set() and self.clear():
                    continue
            except (SQLAlchemyError, TransientError) as error:
                get_logger().warning("not_cleared", error=(str(error).splitlines() or [""])[0])

    def clear(self) -> int:
        """One batch: out of the bucket first, so that a row tells of whatever may still be there."""

        def work(connection: Connection) -> int:
            found = going_objects(connection, limit=BATCH)
            if found:
                self._store.delete([key for _, _, key in found])
                forget_objects(connection, found)
            return len(found)

        return self._repository.transact(work)

    def stop(self) -> None:
        """Ends the thread after the batch that it is at."""
        self._stopping.set()
        self._woken.set()
