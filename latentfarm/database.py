"""How the farm talks to PostgreSQL: one engine per process, short transactions, NOTIFY."""

from __future__ import annotations

import select
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import psycopg.errors
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.abc import PQGen
    from sqlalchemy import Connection
    from sqlalchemy.pool import ConnectionPoolEntry

CHANNEL_WORK = "latentfarm_work"
"""Payload: a queue id. Something is due there."""
CHANNEL_EVENTS = "latentfarm_events"
"""Payload: a job id. Its outbox has a new row."""
CHANNEL_CANCEL = "latentfarm_cancel"
"""Payload: a job id. Its live renders were cancelled."""
CHANNEL_WORKERS = "latentfarm_workers"
"""Payload: the id of an incarnation. It was assigned other models."""

CHANNEL_DELIVERIES = "latentfarm_deliveries"
"""No payload. Something is to be told to receivers of webhooks."""

REPEATS = 5
ANSWER_S = 35.0
"""Seconds after which a connection that gives no answer counts as broken."""
SOON_S = 20.0
"""The same where a lease depends on it: what hangs for longer would lose it."""
REST_S = 1.0
"""A pooled connection that was not used for so long is asked whether it is alive before it is used again."""
_LESS_S = 5.0
"""So much earlier the server gives up a statement by itself, and says so."""

T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """Waits for an answer, and not for ever.

    A balancer or a translator of addresses may keep a connection open whose other end is gone: the kernel
    sees every byte acknowledged, so neither keepalives nor `tcp_user_timeout` ever end it.
    """

    answer_s = ANSWER_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """As psycopg's, which has no limit of its own."""
        if timeout is not None:
            # Those who listen: else each would be woken ten times a second to look at its clock.
            return super().wait(gen, max(interval, timeout), timeout)
        try:
            return super().wait(gen, interval, self.answer_s)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - it has no public name
            # Nobody knows what it would answer next, so it cannot be used again.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the database gave no answer for {self.answer_s:g} s") from error


def connect(url: str, *, pool: int, application: str, answer_s: float = ANSWER_S) -> Engine:
    """An engine with a bounded pool.

    Args:
        url: as SQLAlchemy writes it, `postgresql+psycopg://...`.
        pool: most connections at once.
        application: shown in `pg_stat_activity`.
        answer_s: a connection that is silent for longer is given up.
    """
    engine = create_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        # Else whatever goes wrong in SQL would carry prompts into logs.
        hide_parameters=True,
        pool_timeout=10,
        connect_args={
            "application_name": application,
            "connect_timeout": 5,
            # A peer that vanished without a word is noticed in seconds, not in the kernel's two hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            # A process that is frozen in the middle of a transaction must not hold its locks for long.
            "options": f"-c statement_timeout={1000 * max(1.0, answer_s - _LESS_S):.0f}"
            " -c idle_in_transaction_session_timeout=10000",
        },
    )

    def patiently(_dialect: object, _record: object, args: Any, parameters: Any) -> PatientConnection:
        made = PatientConnection.connect(*args, **parameters)
        made.answer_s = answer_s
        return made

    event.listen(engine, "do_connect", patiently)
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", _look_after_rest)
    return engine


def _note_rest(_connection: object, record: ConnectionPoolEntry) -> None:
    """A connection goes back into the pool."""
    record.info["rests_since"] = time.monotonic()


def _look_after_rest(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Asks a connection that has rested whether it is alive; one that was used just now is asked nothing.

    A server that has stopped or was started anew has closed it, which its socket tells without a round trip.

    Raises:
        InvalidatePoolError: it is not alive; the pool makes new ones.
    """
    rests_s = time.monotonic() - record.info.get("rests_since", time.monotonic())
    if rests_s < REST_S and not _has_news(connection.fileno()):
        return
    try:
        connection.execute("")
        connection.rollback()
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def _has_news(socket: int) -> bool:
    """Whether there is something to read, the end among it. By poll: select takes no descriptor beyond 1,023."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def transact(engine: Engine, work: Callable[[Connection], T], *, single: bool = False) -> T:
    """Runs `work` in one transaction; again when it was the victim of a deadlock.

    Args:
        single: it is one statement, and that a transaction of its own: one round trip in place of three.
    """
    begin = partial(_single, engine) if single else engine.begin
    for repeat in range(REPEATS):
        try:
            with begin() as connection:
                return work(connection)
        except OperationalError as error:
            retryable = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
            if not isinstance(error.orig, retryable) or repeat == REPEATS - 1:
                raise
    raise AssertionError("unreachable")


def _single(engine: Engine) -> Connection:
    # The pool takes it back as it was.
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


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
