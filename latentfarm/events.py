"""What happens to jobs, fanned out inside one process: states from the outbox, steps from Redis.

One connection listens for the whole process, whoever watches; those who watch hold none.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from latentfarm.database import CHANNEL_EVENTS
from latentfarm.listening import Listener
from latentfarm.logs import get_logger
from latentfarm.previews import channel_of
from latentfarm.progress import ProgressListener

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from redis import Redis

    from latentfarm.previews import Preview, Wish
    from latentfarm.progress import Progress
    from latentfarm.records import Event

AGAIN_S = 1.0
_PAGE = 1000


class Outbox(Protocol):
    """What the hub needs of SQL."""

    def events(self, jobs: Sequence[UUID], *, after: int) -> list[Event]:
        """Outbox rows of jobs with an id over `after`, oldest first, at most 1,000."""


class Subscription:
    """Somebody who watches one job. `close` it, also after an error."""

    def __init__(
        self,
        hub: EventHub,
        job_id: UUID,
        deliver: Callable[[Event | Progress | Preview | None], None],
        wish: Wish | None = None,
    ) -> None:
        self.job_id = job_id
        self.deliver = deliver
        self.wish = wish
        self._hub = hub

    def close(self) -> None:
        """Watches no more."""
        self._hub.forget(self)


class _Topic:
    """One job that is watched: by whom, and up to which row all of them were told."""

    def __init__(self) -> None:
        # From the first row on: a watcher may claim to have seen rows that do not exist yet.
        self.after = 0
        self.watchers: set[Subscription] = set()


class EventHub:
    """Reads each new outbox row once and hands it to everybody who watches its job.

    Args:
        database_url: for the one connection that listens.
        outbox: where the rows are read, with connections of its own.
    """

    def __init__(self, database_url: str, outbox: Outbox, redis: Redis) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._topics: dict[UUID, _Topic] = {}
        self._changed: queue.SimpleQueue[UUID | None] = queue.SimpleQueue()
        self._watched = threading.Event()
        self._stopping = threading.Event()
        self._listener = Listener(database_url, [CHANNEL_EVENTS], self._notified)
        self._wished: Counter[str] = Counter()
        self._progress = ProgressListener(redis, self._watched, self._stepped, self._wishes)
        self._reader = threading.Thread(target=self._read_on, name="events", daemon=True)

    def start(self) -> None:
        """Starts the three threads: listen, read, and steps."""
        for thread in (self._listener, self._progress, self._reader):
            thread.start()

    def stop(self) -> None:
        """Tells all watchers that nothing more will come, and ends the threads."""
        self.close_all()
        self._stopping.set()
        self._changed.put(None)
        self._listener.stop()
        self._progress.stop()
        for thread in (self._listener, self._progress, self._reader):
            if thread.is_alive():
                thread.join(timeout=5)

    def close_all(self) -> None:
        """Ends every stream, so that a server that waits for them can stop."""
        for subscription in self._watchers():
            subscription.deliver(None)

    def watch(
        self,
        job_id: UUID,
        deliver: Callable[[Event | Progress | Preview | None], None],
        wish: Wish | None = None,
    ) -> Subscription:
        """Hands every row and step of a job to `deliver`, from now on, and previews where some are wished for.

        Rows of before are the caller's to read, after this call; rows may come twice.

        Args:
            deliver: called from another thread; must not raise and not wait.
        """
        subscription = Subscription(self, job_id, deliver, wish)
        with self._lock:
            self._topics.setdefault(job_id, _Topic()).watchers.add(subscription)
            if wish is not None:
                self._wished[channel_of(job_id, wish)] += 1
            self._watched.set()
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """See `Subscription.close`."""
        with self._lock:
            topic = self._topics.get(subscription.job_id)
            if topic is None or subscription not in topic.watchers:
                return
            topic.watchers.discard(subscription)
            if subscription.wish is not None:
                self._wished -= Counter([channel_of(subscription.job_id, subscription.wish)])
            if not topic.watchers:
                del self._topics[subscription.job_id]
            if not self._topics:
                self._watched.clear()

    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._watchers())

    def _watchers(self, job_id: UUID | None = None) -> list[Subscription]:
        with self._lock:
            topics = self._topics.values() if job_id is None else filter(None, [self._topics.get(job_id)])
            return [subscription for topic in topics for subscription in topic.watchers]

    def _notified(self, _channel: str, payload: str) -> None:
        """From the listener. Without a payload anything may have been missed."""
        with self._lock:
            jobs = _meant(payload, self._topics)
        for job_id in jobs:
            self._changed.put(job_id)

    def _stepped(self, item: Progress | Preview, wish: Wish | None) -> None:
        for subscription in self._watchers(item.job_id):
            if wish is None or subscription.wish == wish:
                subscription.deliver(item)

    def _wishes(self) -> list[str]:
        with self._lock:
            return list(self._wished)

    def _read_on(self) -> None:
        while True:
            job_id = self._changed.get()
            if self._stopping.is_set():
                return
            if job_id is not None:
                self._read(job_id)

    def _read(self, job_id: UUID) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        with self._lock:
            topic = self._topics.get(job_id)
        if topic is None:
            return
        try:
            rows = self._outbox.events([job_id], after=topic.after)
        except SQLAlchemyError as error:
            get_logger().warning("events_unread", error=type(error).__name__)
            self._stopping.wait(AGAIN_S)
            self._changed.put(job_id)
            return
        for row in rows:
            topic.after = row.id
            for subscription in self._watchers(job_id):
                subscription.deliver(row)
        if len(rows) >= _PAGE:
            self._changed.put(job_id)


def _meant(payload: str, watched: Collection[UUID]) -> list[UUID]:
    """Those of the jobs that are watched that a notification is about.

    All jobs of the farm are heard of: one that nobody watches must not cost a look at each that somebody does.
    """
    if not payload:
        return list(watched)
    try:
        job_id = UUID(payload)
    except ValueError:
        return []
    return [job_id] if job_id in watched else []
