"""The whole examination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.broker import Broker
from latentfarm.database import connect
from latentfarm.doctor.clocks import check_clocks
from latentfarm.doctor.devices import check_devices
from latentfarm.doctor.finding import Finding
from latentfarm.doctor.queue import check_queue
from latentfarm.doctor.services import check_bucket, check_database, check_migrations, check_redis
from latentfarm.doctor.software import check_software
from latentfarm.doctor.store import check_store
from latentfarm.doctor.weights import check_models
from latentfarm.errors import InvalidInput
from latentfarm.registry import load_registry
from latentfarm.storage import S3Store

if TYPE_CHECKING:
    from latentfarm.settings import Settings


def examine(settings: Settings) -> list[Finding]:
    """Looks at everything. What cannot be reached is looked at once, not once per question."""
    return [*check_software(), *_services(settings), *_models(settings)]


def _services(settings: Settings) -> list[Finding]:
    engine = connect(settings.database_url, pool=2, application="latentfarm doctor")
    broker = Broker(settings.redis_url)
    store = S3Store.from_settings(settings)
    try:
        database = check_database(engine)
        redis = check_redis(broker.redis)
        bucket = check_bucket(store)
        findings = [database]
        if database.ok:
            schema = check_migrations(engine)
            findings += [schema, *(check_devices(engine) if schema.ok else [])]
        findings += [redis, *(check_queue(broker.redis) if redis.ok else [])]
        findings += [bucket, *(check_store(store) if bucket.ok else [])]
        if database.ok and bucket.ok:
            findings += check_clocks(engine, store)
        return findings
    finally:
        engine.dispose()
        broker.close()


def _models(settings: Settings) -> list[Finding]:
    try:
        registry = load_registry(settings.models_file)
    except InvalidInput as error:
        advice = "set LATENTFARM_MODELS_FILE to a models.toml"
        return [Finding("models", ok=False, detail=str(error), advice=advice)]
    return check_models(registry)
