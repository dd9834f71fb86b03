"""How the farm talks to PostgreSQL: one engine per process, short transactions, NOTIFY."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import psycopg.errors
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

CHANNEL_WORK = "latentfarm_work"
"""Payload: a queue id. Something is due there."""
CHANNEL_EVENTS = "latentfarm_events"
"""Payload: a job id. Its outbox has a new row."""
CHANNEL_CANCEL = "latentfarm_cancel"
"""Payload: a job id. Its live renders were cancelled."""

REPEATS = 5

T = TypeVar("T")


def connect(url: str, *, pool: int, application: str) -> Engine:
    """An engine with a bounded pool.

    Args:
        url: as SQLAlchemy writes it, `postgresql+psycopg://...`.
        pool: most connections at once.
        application: shown in `pg_stat_activity`.
    """
    return create_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={
            "application_name": application,
            "connect_timeout": 5,
            # A peer that vanished without a word is noticed in seconds, not in the kernel's two hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            # A process that is frozen in the middle of a transaction must not hold its locks for long.
            "options": "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=10000",
        },
    )


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in one transaction; again when it was the victim of a deadlock."""
    for repeat in range(REPEATS):
        try:
            with engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            retryable = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
            if not isinstance(error.orig, retryable) or repeat == REPEATS - 1:
                raise
    raise AssertionError("unreachable")


def is_away(error: BaseException) -> bool:
    """Whether the error says that the database could not be reached, so that waiting may help."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def was_unreachable(error: BaseException) -> bool:
    """Whether nobody could reach PostgreSQL, so that leases could not be renewed either.

    Not so when it answered and refused: a transaction that idled too long, a statement or lock timeout.
    """
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    # Without a SQLSTATE no server answered; 08: connection lost, 53: full, 57P: shutting down or starting.
    return is_away(error) and (state is None or state.startswith(("08", "53", "57P")))


def notify(connection: Connection, channel: str, payload: object) -> None:
    """Tells listeners once the transaction commits."""
    connection.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": str(payload)}
    )
