"""The scheduler's loops: quick, undisturbed by trouble, and harmless when two of them run."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.database import connect
from latentfarm.dispatch import dispatch
from latentfarm.errors import Conflict, ServiceUnavailable
from latentfarm.repository import dispatching, failing
from latentfarm.repository.facade import Repository
from latentfarm.repository.sweeping import try_duty
from latentfarm.states import JobState, Lane
from scheduler import service
from scheduler.duties import Duties
from scheduler.duty import Duty
from scheduler.service import Dispatcher, sweep_until
from tests.integration.test_repository import claim, job, one, register, submit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from latentfarm.broker import Broker
    from latentfarm.records import Pick
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


def do(repository: Repository, sql: str, **values: Any) -> None:
    repository.transact(lambda c: c.execute(text(sql), values))


def until(true: Callable[[], bool], limit_s: float = 10.0) -> float:
    """Seconds until `true` was."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() < started + limit_s
        time.sleep(0.01)
    return time.monotonic() - started


@pytest.fixture
def dispatcher(repository: Repository, broker: Broker, settings: Settings) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(repository, broker, settings.database_url)
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()
    dispatcher.join(10)
    assert not dispatcher.is_alive()


def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    return Duties(repository, broker, store, settings.model_copy(update={"lease_s": 0.1}))


@contextlib.contextmanager
def sweeping(swept: Iterable[tuple[Duties, list[Duty]]]) -> Iterator[None]:
    """Meanwhile each schedule is swept in a thread of its own."""
    stopping = threading.Event()
    threads = [
        threading.Thread(target=sweep_until, args=(stopping, duties, schedule), daemon=True)
        for duties, schedule in swept
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


# Dispatch


@pytest.mark.usefixtures("dispatcher")
def test_a_new_job_is_dispatched_before_the_next_round(repository: Repository, broker: Broker) -> None:
    waits = []
    for number in range(5):
        job_id = submit(repository, 1, lane=Lane.BULK)
        waits.append(until(lambda n=number: broker.length(repository.queues()[0].name) > n))  # type: ignore[misc]
        assert job(repository, job_id).state is JobState.QUEUED
    # The first may come before the listener does; a round a second would give half a second on average.
    assert sorted(waits)[2] < 0.3


class Flaky:
    """A broker that fails so many times."""

    def __init__(self, broker: Broker, times: int) -> None:
        self.broker = broker
        self.times = times

    def send(self, queue: str, picks: Sequence[Pick], *, chunk: int) -> None:
        if self.times:
            self.times -= 1
            raise ServiceUnavailable("away")
        self.broker.send(queue, picks, chunk=chunk)

    def length(self, queue: str) -> int:
        return self.broker.length(queue)


def test_the_dispatcher_outlives_redis_and_a_locked_queue(
    repository: Repository, broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "AWAY_S", 0.01)
    monkeypatch.setattr(service, "ROUND_S", 0.05)
    submit(repository, 1)
    submit(repository, 1, lane="bulk")
    flaky = Flaky(broker, times=1)
    dispatcher = Dispatcher(repository, flaky, settings.database_url)
    dispatcher.start()
    until(lambda: broker.length("base.tiny.bulk") == 1)
    dispatcher.stop()
    dispatcher.join(10)
    assert flaky.times == 0


def test_a_queue_that_another_dispatcher_holds_is_left_to_it(repository: Repository, broker: Broker) -> None:
    submit(repository, 1)
    queue = repository.queues()[0]
    with repository.engine.begin() as other:
        other.execute(text("SELECT pg_advisory_xact_lock(4711, :queue)"), {"queue": queue.id})
        with pytest.raises(Conflict):
            dispatch(repository, broker, queue)
    assert dispatch(repository, broker, queue) == 1


def test_racing_dispatchers_send_each_render_once_and_keep_the_window(
    repository: Repository, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(connection: Connection, queue: int) -> int:
        found = count_dispatched(connection, queue)
        time.sleep(0.1)  # time enough for the others to count the same, if they could
        return found

    count_dispatched = dispatching.count_dispatched
    monkeypatch.setattr(dispatching, "count_dispatched", slow)
    submit(repository, 300)
    register(repository)
    queue = repository.queues()[0]
    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(lambda _: dispatch(repository, broker, queue), range(6)))
    assert sorted(counts) == [0, 0, 0, 0, 0, 24]
    assert broker.length(queue.name) == 3


# Duties


def test_a_duty_is_left_to_the_scheduler_that_is_at_it(repository: Repository) -> None:
    ran: list[str] = []
    duty = Duty("test", 99, 1.0, _count(ran))
    with repository.engine.begin() as other:
        assert try_duty(other, 99)
        duty.run(repository, now=100.0)
        assert ran == []
    duty.run(repository, now=100.0)
    assert (ran, duty.due) == (["ran"], 101.0)


def test_two_schedulers_take_back_each_render_once(
    repository: Repository, broker: Broker, store: S3Store, settings: Settings
) -> None:
    submit(repository, 80, refine=False)
    workers = [register(repository) for _ in range(20)]
    pairs = [
        (pick.render_id, pick.fence)
        for pick in repository.pick(repository.queues()[0], window_per_worker=4).picks
    ]
    for number, worker in enumerate(workers):
        claim(repository, worker, pairs[4 * number : 4 * number + 4])
    do(repository, "UPDATE workers SET lease_until = now() - interval '1 s'")
    both = [duties(repository, broker, store, settings) for _ in range(2)]
    with sweeping((swept, group) for swept in both for group in swept.groups()):
        until(lambda: one(repository, "SELECT count(*) FROM renders WHERE state = 2") == 0)
        time.sleep(1.5)  # another round of both
    # Claimed once, taken back once; nobody was alone, so nobody is charged.
    assert one(repository, "SELECT min(fence) * 100 + max(fence) FROM renders WHERE starts = 1") == 202
    assert one(repository, "SELECT sum(tries) FROM renders") == 0
    assert one(repository, "SELECT queued FROM jobs") == 80


def _run(swept: Duties, sweeps: list[Callable[[Any], str]], done: Callable[[], bool]) -> None:
    """Sweeps with duties of a test's own until `done`."""
    schedule = [Duty(f"duty{number}", 90 + number, 0.05, sweep) for number, sweep in enumerate(sweeps)]
    with sweeping([(swept, schedule)]):
        until(done)


def _count(ran: list[str]) -> Callable[[Any], str]:
    def sweep(_: Any) -> str:
        ran.append("ran")
        return ""

    return sweep


def test_a_duty_that_fails_does_not_stop_the_others(
    repository: Repository, broker: Broker, store: S3Store, settings: Settings
) -> None:
    ran: list[str] = []

    def away(_: Any) -> str:
        raise ServiceUnavailable("no bucket")

    swept = duties(repository, broker, store, settings)
    _run(swept, [away, _count(ran)], lambda: len(ran) > 2)
    assert swept.calm_since == float("-inf")


def test_after_the_database_was_away_rescue_waits_a_lease(
    repository: Repository,
    broker: Broker,
    store: S3Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "AWAY_S", 0.01)
    gone = connect("postgresql+psycopg://nobody@127.0.0.1:1/none", pool=1, application="tests")
    swept = duties(Repository(gone), broker, store, settings)
    _run(swept, [_count([])], lambda: swept.calm_since > 0)
    worker = register(repository)
    do(repository, "UPDATE workers SET lease_until = now() - interval '1 s'")
    swept.calm_since = time.monotonic()
    assert repository.transact(swept.rescue) == ""
    swept.calm_since -= swept.settings.lease_s
    assert repository.transact(swept.rescue) == f"ended workers [{worker}], took back 0 renders"


def test_a_transaction_that_idled_too_long_says_nothing_about_leases(
    repository: Repository,
    broker: Broker,
    store: S3Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL ends it; taken for an absence of the database it would put rescue off, again and again."""
    monkeypatch.setattr(service, "AWAY_S", 0.01)
    ran: list[str] = []

    def slow(connection: Any) -> str:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        time.sleep(0.3)
        connection.execute(text("SELECT 1"))
        return ""

    swept = duties(repository, broker, store, settings)
    _run(swept, [slow, _count(ran)], lambda: len(ran) > 1)
    assert swept.calm_since == float("-inf")


def test_a_bucket_that_hangs_does_not_hold_up_a_rescue(
    repository: Repository, broker: Broker, store: S3Store, settings: Settings
) -> None:
    class Hanging:
        """Answers no delete until it is told to."""

        asked, answer = threading.Event(), threading.Event()

        def delete(self, keys: Sequence[str]) -> None:
            self.asked.set()
            self.answer.wait(20)
            store.delete(keys)

    hanging: Any = Hanging()
    swept = duties(repository, broker, hanging, settings.model_copy(update={"collect_after_s": 0.0}))
    submit(repository, 1, refine=False)
    claimed = claim(repository, register(repository))
    repository.transact(lambda c: failing.release(c, [(claimed[0].render_id, claimed[0].fence)]))
    with sweeping((swept, group) for group in swept.groups()):
        try:
            assert hanging.asked.wait(10)
            late = register(repository)
            do(repository, "UPDATE workers SET lease_until = now() - interval '1 s' WHERE id = :id", id=late)
            ended = "SELECT ended_at IS NOT NULL FROM workers WHERE id = :id"
            until(lambda: one(repository, ended, id=late) is True)
        finally:
            hanging.answer.set()
