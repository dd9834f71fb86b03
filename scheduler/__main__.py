"""`python -m scheduler`: dispatch and sweeps. Run as many as you like; they do not get in each other's way."""

from __future__ import annotations

import signal
import threading

from latentfarm.broker import Broker
from latentfarm.database import SOON_S, connect
from latentfarm.datasets import Datasets
from latentfarm.ids import new_id
from latentfarm.logs import configure, get_logger
from latentfarm.prediction_events import predictor
from latentfarm.registry import Registry, load_registry
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.storage import S3Store
from latentfarm.webhooks.sending import Sender
from scheduler.arrivals import CHECKERS, Arrivals
from scheduler.deliverer import Deliverer
from scheduler.duties import Duties
from scheduler.service import Dispatcher, sweep_until

DELIVERIES = 4
"""Connections of those who tell receivers of webhooks; each try needs one for a moment."""


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    settings = Settings()
    configure("scheduler", level=settings.log_level, as_json=settings.log_json)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine = connect(
        settings.database_url,
        # A check or a part that comes in holds one connection to its end: dispatch and sweeps want their own besides.
        pool=max(settings.database_pool, CHECKERS + 9),
        application="latentfarm scheduler",
        answer_s=SOON_S,
    )
    repository = Repository(engine)
    broker = Broker(settings.redis_url)
    dispatcher = Dispatcher(repository, broker, settings.database_url)
    dispatcher.start()
    get_logger().info("scheduler_started")
    store = S3Store.from_settings(settings)
    registry = load_registry(settings.models_file)
    datasets = Datasets(repository, store, registry, new_id, settings.retain_days or None)
    arrivals = Arrivals(repository, store, datasets)
    arrivals.start()
    deliverer = _deliverer(settings, registry)
    deliverer.start()
    duties = Duties(repository, broker, store, settings)
    sweepers = [
        threading.Thread(target=sweep_until, args=(stopping, duties, group), daemon=True)
        for group in duties.groups()
    ]
    for sweeper in sweepers:
        sweeper.start()
    stopping.wait()
    dispatcher.stop()
    arrivals.stop()
    deliverer.stop()
    arrivals.join(5)
    for thread in (dispatcher, deliverer, *sweepers):
        thread.join(timeout=5)
    broker.close()
    deliverer.close()
    engine.dispose()


def _deliverer(settings: Settings, registry: Registry) -> Deliverer:
    """With connections of its own: many receivers that answer at once must not take any from dispatch."""
    url = settings.database_url
    telling = connect(url, pool=DELIVERIES, application="latentfarm deliverer", answer_s=SOON_S)
    predict = predictor(settings, registry)
    return Deliverer(Repository(telling), Sender(), url, api_url=settings.api_url, predict=predict)


if __name__ == "__main__":
    main()
