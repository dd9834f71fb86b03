"""The application: what it holds, from start-up to shutdown, and its routes."""

import queue
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from api import (
    health,
    metrics,
    openapi,
    problems,
    routes_dataset_files,
    routes_datasets,
    routes_deliveries,
    routes_events,
    routes_fleet,
    routes_images,
    routes_jobs,
    routes_keys,
    routes_models,
    routes_plans,
    routes_tenants,
    routes_uploads,
    routes_webhooks,
)
from api.as_typed import AsTyped
from api.deadline import Deadline
from api.deps import Services
from api.figures import Figures
from api.huggingface import routes as huggingface_routes
from api.hurry import Hurry
from api.openai import routes as openai_routes
from api.openai import routes_batches as openai_batches
from api.openai import routes_files as openai_files
from api.rates import RateHeaders, Rates
from api.readiness import Readiness
from api.replicate import routes as replicate_routes
from api.request_ids import RequestIds
from latentfarm.broker import Broker
from latentfarm.database import connect
from latentfarm.datasets import Datasets
from latentfarm.doctor.services import check_bucket, check_database, check_migrations, check_redis
from latentfarm.events import EventHub
from latentfarm.ids import new_id
from latentfarm.inputs.fetching import Fetcher
from latentfarm.inputs.offering import Uploads
from latentfarm.inputs.resolving import Resolver
from latentfarm.key_ring import KeyRing
from latentfarm.lifecycle import Farm
from latentfarm.refining import Refining
from latentfarm.registry import load_registry
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.storage import S3Store
from latentfarm.webhook_desk import WebhookDesk

if TYPE_CHECKING:
    from latentfarm.records import Picked


def create_app(settings: Settings, fetcher: Fetcher | None = None) -> FastAPI:
    """An API that connects to its services when it starts, and not before.

    Args:
        fetcher: who gets the pictures behind URLs; tests have one that may reach a server of their own.

    Raises:
        InvalidInput: the model registry cannot be read.
    """
    app = FastAPI(lifespan=_lifespan, redirect_slashes=False)
    app.state.services = _services(settings, fetcher or Fetcher())
    routes = (
        routes_jobs,
        routes_images,
        routes_events,
        routes_datasets,
        routes_dataset_files,
        routes_plans,
        routes_uploads,
        routes_models,
        routes_fleet,
        openai_routes,
        replicate_routes,
        huggingface_routes,
        openai_files,
        openai_batches,
        routes_tenants,
        routes_keys,
        routes_webhooks,
        routes_deliveries,
        health,
        metrics,
    )
    for module in routes:
        app.include_router(module.router)
    app.add_middleware(Deadline)
    app.add_middleware(RateHeaders)
    app.add_middleware(AsTyped)
    app.add_middleware(RequestIds)
    problems.install(app)
    openapi.install(app)
    return app


def _services(settings: Settings, fetcher: Fetcher) -> Services:
    """Nothing here asks a service: an API may start before its database."""
    engine = connect(settings.database_url, pool=settings.database_pool, application="latentfarm api")
    repository = Repository(engine)
    broker = Broker(settings.redis_url)
    registry = load_registry(settings.models_file)
    store = S3Store.from_settings(settings)
    accepted: queue.SimpleQueue[int | Picked | None] = queue.SimpleQueue()
    pictures = Resolver(repository, store, fetcher)
    term = settings.retain_days or None
    rates = Rates(settings)
    farm = Farm(
        repository,
        broker,
        registry,
        new_id,
        hurry=accepted.put,
        pictures=pictures,
        retain_days=term,
        reachable=fetcher.target,
    )
    hub = EventHub(settings.database_url, repository, broker.redis)
    return Services(
        settings=settings,
        repository=repository,
        broker=broker,
        store=store,
        registry=registry,
        farm=farm,
        refining=Refining(farm, repository),
        datasets=Datasets(repository, store, registry, new_id, term),
        uploads=Uploads(repository, store, new_id, settings.upload_s),
        keys=KeyRing(repository),
        rates=rates,
        webhooks=WebhookDesk(repository, fetcher.target),
        hurry=Hurry(accepted, farm.send_now),
        hub=hub,
        readiness=Readiness(
            {
                "database": lambda: check_database(engine),
                "migrations": lambda: check_migrations(engine),
                "redis": lambda: check_redis(broker.redis),
                "object store": lambda: check_bucket(store),
            }
        ),
        figures=Figures(repository, hub, rates),
    )


def _lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
    return _run(app.state.services)


@asynccontextmanager
async def _run(services: Services) -> AsyncIterator[None]:
    services.hub.start()
    services.hurry.start()
    try:
        yield
    finally:
        services.hurry.stop()
        services.hub.stop()
        services.readiness.close()
        services.broker.close()
        services.rates.limiter.close()
        services.repository.engine.dispose()
