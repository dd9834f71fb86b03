"""The committer: many operations in one commit, each with an answer of its own, whatever goes wrong."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from structlog.testing import capture_logs

from latentfarm.errors import ErrorClass
from latentfarm.records import Done, Failure, ObjectRef, Saved
from latentfarm.repository import checkpointing, failing, finishing
from worker import committer as module
from worker.committer import Committer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.messages import Pair
    from latentfarm.repository.facade import Repository

REF = ObjectRef("v1/images/1/1.png", b"\0" * 32, 7)
WAIT_S = 10


def done(render_id: int) -> Done:
    return Done(render_id, 1, REF, 4)


@dataclass
class Database:
    """Stands for the repository: remembers commits, and fails as it is told.

    Attributes:
        open: until it is set, every transaction waits, so that operations gather.
        away: so many transactions find no database.
        bad: render ids that no transaction may hold.
        gone: render ids whose fence has risen.
    """

    open: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    away: int = 0
    bad: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    commits: list[list[tuple[str, int]]] = field(default_factory=list)

    def transact(self, work: Callable[[Any], Any]) -> Any:
        self.entered.release()
        assert self.open.wait(WAIT_S)
        if self.away:
            self.away -= 1
            raise OperationalError("SELECT", {}, psycopg.OperationalError("server closed the connection"))
        written: list[tuple[str, int]] = []
        answer = work(written)
        self.commits.append(written)
        return answer

    def settle(self, kind: str) -> Callable[[Any, list[Any]], set[Pair]]:
        def write(written: list[tuple[str, int]], records: list[Any]) -> set[Pair]:
            pairs = [r if isinstance(r, tuple) else (r.render_id, r.fence) for r in records]
            return {pair for pair in pairs if self._take(kind, pair[0], written)}

        return write

    def _take(self, kind: str, render_id: int, written: list[tuple[str, int]]) -> bool:
        if render_id in self.bad:
            raise IntegrityError("UPDATE", {}, psycopg.errors.CheckViolation("bad row"))
        if render_id in self.gone:
            return False
        written.append((kind, render_id))
        return True


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(checkpointing, "plan", database.settle("plan"))
    monkeypatch.setattr(checkpointing, "show", database.settle("show"))
    monkeypatch.setattr(finishing, "finish", database.settle("finish"))
    monkeypatch.setattr(finishing, "hand_over", database.settle("hand_over"))
    monkeypatch.setattr(failing, "fail", database.settle("fail"))
    monkeypatch.setattr(failing, "give_back", database.settle("release"))
    monkeypatch.setattr(module, "AWAY_S", 0.0)
    return database


@pytest.fixture
def committer(database: Database) -> Iterator[Committer]:
    committer = Committer(cast("Repository", database))
    committer.start()
    yield committer
    database.open.set()
    committer.close(WAIT_S)
    assert not committer.is_alive()


def _hold(committer: Committer, database: Database) -> None:
    """Lets one operation into a transaction, so that the next ones gather behind it."""
    committer.release([(999, 1)])
    assert database.entered.acquire(timeout=WAIT_S)


def test_what_gathers_during_a_commit_goes_into_one(committer: Committer, database: Database) -> None:
    _hold(committer, database)
    finished = [committer.finish(done(number)) for number in range(1, 20)]
    database.open.set()
    assert [answer.result(WAIT_S) for answer in finished] == [{(number, 1)} for number in range(1, 20)]
    assert [len(commit) for commit in database.commits] == [1, 19]


def test_every_kind_of_operation_gets_its_own_answer(committer: Committer, database: Database) -> None:
    _hold(committer, database)
    handed = committer.hand_over(done(4))
    failed = committer.fail(Failure(5, 1, ErrorClass.MODEL, "cut short"))
    released = committer.release([(6, 1), (7, 1)])
    planned, shown = committer.plan(Saved(8, 1, 3, 3)), committer.show(Saved(9, 1, 3, 3, REF))
    database.gone = {7, 9}
    database.open.set()
    assert (handed.result(WAIT_S), failed.result(WAIT_S)) == ({(4, 1)}, {(5, 1)})
    assert released.result(WAIT_S) == {(6, 1)}
    assert (planned.result(WAIT_S), shown.result(WAIT_S)) == ({(8, 1)}, set())
    assert len(database.commits) == 2


def test_a_superseded_finish_is_answered_with_nothing(committer: Committer, database: Database) -> None:
    database.gone = {1}
    database.open.set()
    assert committer.finish(done(1)).result(WAIT_S) == set()


def test_every_refused_write_is_logged(committer: Committer, database: Database) -> None:
    database.gone = {1}
    database.open.set()
    saved = Saved(1, 1, 4, 4, REF)
    with capture_logs() as lines:
        for answer in (
            committer.finish(done(1)),
            committer.hand_over(done(1)),
            committer.fail(Failure(1, 1, ErrorClass.TRANSIENT, "away")),
            committer.release([(1, 1), (2, 1)]),
            committer.plan(saved),
            committer.show(saved),
        ):
            answer.result(WAIT_S)
    told = [(line["event"], line["kind"], line["render"], line["fence"]) for line in lines]
    kinds = ("fail", "release", "plan", "show")
    results = [("result_refused", kind, 1, 1) for kind in ("finish", "hand_over")]
    assert told == results + [("write_refused", kind, 1, 1) for kind in kinds]


def test_one_bad_operation_does_not_take_its_neighbours_along(
    committer: Committer, database: Database
) -> None:
    database.bad = {2}
    _hold(committer, database)
    answers = [committer.finish(done(number)) for number in (1, 2, 3)]
    database.open.set()
    assert answers[0].result(WAIT_S) == {(1, 1)}
    assert answers[2].result(WAIT_S) == {(3, 1)}
    with pytest.raises(IntegrityError):
        answers[1].result(WAIT_S)


def test_a_database_that_is_away_is_waited_for(committer: Committer, database: Database) -> None:
    database.away = 3
    database.open.set()
    assert committer.finish(done(1)).result(WAIT_S) == {(1, 1)}
    assert database.commits == [[("finish", 1)]]


def test_closing_writes_what_waits(committer: Committer, database: Database) -> None:
    _hold(committer, database)
    answers = [committer.finish(done(number)) for number in (1, 2)]
    database.open.set()
    committer.close(WAIT_S)
    assert [answer.result(0) for answer in answers] == [{(1, 1)}, {(2, 1)}]


def test_closing_gives_up_on_a_database_that_stays_away(committer: Committer, database: Database) -> None:
    database.away = 10**9
    database.open.set()
    answer = committer.finish(done(1))
    committer.close(0.05)
    with pytest.raises(CancelledError):
        answer.result(WAIT_S)
