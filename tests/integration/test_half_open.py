"""Connections whose other end is gone and that nobody resets: noticed in seconds, and made anew."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from latentfarm import database, listening
from latentfarm.database import connect, is_away, notify, transact, was_unreachable
from latentfarm.listening import Listener
from latentfarm.storage import S3Store
from tests.integration.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

ANSWER_S = 1.5


@pytest.fixture
def link(settings: Settings) -> Iterator[Link]:
    with Link(settings.database_url) as link:
        yield link


def test_a_database_that_gives_no_answer_is_given_up(link: Link) -> None:
    engine = connect(link.url, pool=1, application="tests", answer_s=ANSWER_S)

    def ask(connection: Connection, *, deaf: bool = False) -> object:
        if deaf:
            link.go_deaf()
        return connection.execute(text("SELECT 1")).scalar_one()

    try:
        assert transact(engine, ask) == 1
        began = time.monotonic()
        with pytest.raises(OperationalError, match=r"no answer for 1\.5 s") as caught:
            transact(engine, partial(ask, deaf=True))
        assert ANSWER_S - 0.5 < time.monotonic() - began < ANSWER_S + 10
        # As if it had been refused: leases are given time, and what was to be written is written again.
        assert is_away(caught.value)
        assert was_unreachable(caught.value)
        assert transact(engine, ask) == 1
        assert link.connections == 2
    finally:
        engine.dispose()


def test_a_pooled_connection_that_went_deaf_while_it_rested_is_replaced(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "REST_S", 0.0)
    engine = connect(link.url, pool=1, application="tests", answer_s=ANSWER_S)
    ask = text("SELECT 1")
    try:
        assert transact(engine, lambda c: c.execute(ask).scalar_one()) == 1
        link.go_deaf()
        assert transact(engine, lambda c: c.execute(ask).scalar_one()) == 1
    finally:
        engine.dispose()


def test_one_that_was_used_just_now_is_asked_nothing_and_given_up_once_it_is_deaf(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "REST_S", 60.0)
    engine = connect(link.url, pool=1, application="tests", answer_s=ANSWER_S)
    ask = text("SELECT 1")
    try:
        assert transact(engine, lambda c: c.execute(ask).scalar_one()) == 1
        link.go_deaf()
        with pytest.raises(OperationalError, match="no answer") as caught:
            transact(engine, lambda c: c.execute(ask).scalar_one())
        assert is_away(caught.value)
        assert transact(engine, lambda c: c.execute(ask).scalar_one()) == 1
    finally:
        engine.dispose()


def test_one_that_the_server_has_closed_is_replaced_however_short_it_rested(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "REST_S", 60.0)
    engine = connect(settings.database_url, pool=1, application="tests", answer_s=ANSWER_S)
    own = text("SELECT pg_backend_pid()")
    try:
        pid = transact(engine, lambda c: c.execute(own).scalar_one())
        end = text("SELECT pg_terminate_backend(:pid, 5000)")
        assert repository.transact(lambda c: c.execute(end, {"pid": pid}).scalar_one())
        assert transact(engine, lambda c: c.execute(own).scalar_one()) != pid
    finally:
        engine.dispose()


def test_a_statement_that_takes_its_time_is_waited_for(link: Link) -> None:
    engine = connect(link.url, pool=1, application="tests", answer_s=20)
    slow = text("SELECT pg_sleep(2)")
    try:
        transact(engine, lambda c: c.execute(slow))
        assert link.connections == 1
    finally:
        engine.dispose()


def test_a_listener_notices_that_nothing_reaches_it(
    link: Link, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PING_S", 0.5)
    monkeypatch.setattr(listening, "ANSWER_S", ANSWER_S)
    heard: list[str] = []
    told = threading.Condition()

    def hear(_: str, payload: str) -> None:
        with told:
            heard.append(payload)
            told.notify_all()

    listener = Listener(link.url, ["tests"], hear)
    listener.start()
    try:
        with told:
            assert told.wait_for(lambda: heard == [""], 30)
            link.go_deaf()
            # An empty one says that something may have been missed.
            assert told.wait_for(lambda: heard == ["", ""], 30)
        repository.transact(lambda c: notify(c, "tests", "news"))
        with told:
            assert told.wait_for(lambda: heard[-1] == "news", 30)
    finally:
        listener.stop()
        listener.join(10)


def test_an_answer_that_is_lost_after_an_upload_costs_another_upload(
    settings: Settings, store: S3Store
) -> None:
    """Nobody knows whether the object is there; the same key and bytes once more, and it is."""
    with Link(settings.s3_endpoint_url) as link:
        far = S3Store.from_settings(settings.model_copy(update={"s3_endpoint_url": link.url}))
        link.cut = 2
        ref = far.put("v1/tests/ambiguous", b"x" * 200_000, "image/png")
        assert (link.cut, link.connections) == (0, 3)
    assert store.get(ref) == b"x" * 200_000
