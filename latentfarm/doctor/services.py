"""Looks at PostgreSQL, Redis and the object store. `/readyz` uses them too, so they change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.doctor.finding import Finding, look

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from latentfarm.storage import S3Store

MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "migrations"


def check_database(engine: Engine) -> Finding:
    """Whether PostgreSQL answers."""

    def ask() -> str:
        with engine.connect() as connection:
            return f"PostgreSQL {connection.execute(text('SHOW server_version')).scalar_one()}"

    return look("database", ask, "start PostgreSQL, or set LATENTFARM_DATABASE_URL")


def check_migrations(engine: Engine) -> Finding:
    """Whether the tables are those that this code expects."""

    def ask() -> str:
        wanted = _head()
        with engine.connect() as connection:
            if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
                raise RuntimeError(f"no tables yet; this code expects {wanted}")
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        if list(found) != [wanted]:
            raise RuntimeError(f"at {', '.join(found) or 'nothing'}; this code expects {wanted}")
        return f"at {wanted}"

    return look("migrations", ask, "run `python -m alembic upgrade head` in the checkout")


def check_redis(redis: Redis) -> Finding:
    """Whether Redis answers."""

    def ask() -> str:
        redis.ping()
        return "answers"

    return look("redis", ask, "start Redis 6.2 or newer, or set LATENTFARM_REDIS_URL")


def check_bucket(store: S3Store) -> Finding:
    """Whether the object store answers and has the bucket."""

    def ask() -> str:
        store.client.head_bucket(Bucket=store.bucket)
        return f"bucket {store.bucket}"

    return look(
        "object store", ask, "start it and make the bucket, or set LATENTFARM_S3_ENDPOINT_URL and its keys"
    )


def _head() -> str:
    from alembic.script import ScriptDirectory

    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise RuntimeError(f"no migrations in {MIGRATIONS}")
    return head
