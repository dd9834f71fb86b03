"""Claims: a transaction each, patient while the database is away, and over at once when the worker drains."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from latentfarm.repository import claiming
from worker import claimer as module
from worker.claimer import Claimer
from worker.patience import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.messages import Pair
    from latentfarm.repository.facade import Repository

WAIT_S = 10


@dataclass
class Database:
    """Stands for the repository: the next transactions raise what is in `errors`."""

    errors: list[Exception] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    def transact(self, work: Callable[[Any], Any]) -> Any:
        self.asked.set()
        if self.errors:
            raise self.errors.pop(0)
        return work(None)


def away() -> OperationalError:
    return OperationalError("SELECT", {}, psycopg.OperationalError("server closed the connection"))


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    def claim(_connection: object, worker: int, pairs: list[Pair], *, is_low: bool) -> list[Any]:
        return [(worker, pair, is_low) for pair in pairs]

    monkeypatch.setattr(claiming, "claim", claim)
    monkeypatch.setattr(claiming, "still_to_be_had", lambda _connection, pairs: set(pairs[:1]))
    return Database()


@pytest.fixture
def claimer(database: Database) -> Claimer:
    return Claimer(cast("Repository", database), worker=7)


def test_it_claims_for_its_worker(claimer: Claimer) -> None:
    claimed: Any = claimer.claim([(1, 0), (2, 3)], is_low=False)
    assert claimed == [(7, (1, 0), False), (7, (2, 3), False)]


def test_it_looks_without_claiming(claimer: Claimer) -> None:
    assert claimer.look([(1, 0), (2, 3)]) == {(1, 0)}


def test_a_database_that_is_away_is_waited_for(
    claimer: Claimer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_S", 0.0)
    database.errors = [away(), away()]
    assert claimer.look([(1, 0)]) == {(1, 0)}
    assert not database.errors


def test_what_is_refused_is_raised(claimer: Claimer, database: Database) -> None:
    database.errors = [ProgrammingError("SELECT", {}, psycopg.errors.InsufficientPrivilege("no"))]
    with pytest.raises(ProgrammingError):
        claimer.claim([(1, 0)])


def test_a_worker_that_drains_waits_no_longer(
    claimer: Claimer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_S", 10 * WAIT_S)
    database.errors = [away()]
    ended: list[BaseException] = []

    def claim() -> None:
        try:
            claimer.claim([(1, 0)])
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=claim)
    thread.start()
    assert database.asked.wait(WAIT_S)
    claimer.stop()
    thread.join(WAIT_S)
    assert len(ended) == 1
