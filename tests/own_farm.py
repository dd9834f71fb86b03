"""A database of one's own for a test, or for a module of them, on the services that all share."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import psycopg

from latentfarm.broker import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.embedded.stack import Stack


def admin(stack: Stack) -> str:
    """Where databases are made and dropped."""
    return stack.environment()["LATENTFARM_DATABASE_URL"].replace("+psycopg", "")


def database_url(stack: Stack, name: str) -> str:
    """Where a database of the stack is found."""
    return database_urls(stack, name)["LATENTFARM_DATABASE_URL"]


def database_urls(stack: Stack, name: str) -> dict[str, str]:
    """The same, for workers too."""
    variables = ("LATENTFARM_DATABASE_URL", "LATENTFARM_WORKER_DATABASE_URL")
    return {one: stack.environment()[one].rsplit("/", 1)[0] + f"/{name}" for one in variables}


def forgo_fsync(stack: Stack) -> None:
    """Lets PostgreSQL wait for no disk.

    Tests kill processes and not the machine, so what was written is kept without it; to drop a test's database waits
    for a checkpoint, and took longer than most tests.
    """
    with psycopg.connect(admin(stack), autocommit=True) as connection:
        for name in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def own_environment(stack: Stack, template: str) -> Iterator[dict[str, str]]:
    """The variables of a farm: a fresh database, a flushed Redis, the shared bucket."""
    name = f"farm_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin(stack), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    variables = {**stack.environment(), **database_urls(stack, name)}
    broker = Broker(variables["LATENTFARM_REDIS_URL"])
    broker.redis.flushall()
    broker.close()
    yield variables
    with psycopg.connect(admin(stack), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
