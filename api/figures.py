"""What `/metrics` shows: what the records say, and what the engines of live workers count.

An engine's counters begin again with each incarnation, as those of any restarted process.
"""

import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.exc import SQLAlchemyError

from api.families import deliveries, drained, ends, engines, leases, limiting, models, queues, resting
from api.rates import Rates
from latentfarm.events import EventHub
from latentfarm.repository import delivering, draining, holding
from latentfarm.repository import resting as at_rest
from latentfarm.repository.facade import Repository

FRESH_S = 1.0
"""Scrapes that come closer together get the same answer."""


class Figures:
    """Reads the records when somebody scrapes, and not oftener than each `FRESH_S`."""

    def __init__(self, repository: Repository, hub: EventHub, rates: Rates) -> None:
        self._repository = repository
        self._rates = rates
        self._hub = hub
        self._lock = threading.Lock()
        self._text = b""
        self._read_at = float("-inf")
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """The page."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_S:
                self._text = generate_latest(self._registry)
                self._read_at = time.monotonic()
            return self._text

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families; only those of this process while the database is away."""
        yield GaugeMetricFamily(
            "latentfarm_event_streams", "Open streams of events in this process.", value=self._hub.watchers()
        )
        yield from limiting(self._rates.refused, self._rates.limiter.errors)
        try:
            found = self._families()
        except SQLAlchemyError:
            found = []
        yield GaugeMetricFamily(
            "latentfarm_database_up", "Whether the records could be read.", value=1 if found else 0
        )
        yield from found

    def _families(self) -> list[Metric]:
        workers = [dict(row) for row in self._repository.live_workers()]
        return [
            *queues(self._repository.queues(), self._repository.live_counts(), workers),
            *leases(workers),
            *models(self._repository.transact(holding.loads), workers),
            *deliveries(*self._repository.transact(delivering.count_due)),
            resting(len(self._repository.transact(at_rest.resting))),
            *drained(*self._repository.transact(draining.figures)),
            *engines(workers),
            ends(self._repository.worker_ends()),
        ]
