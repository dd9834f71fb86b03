"""Deliveries reach real HTTPS receivers, whatever these do, and are tried again when they should be."""

from __future__ import annotations

import datetime as dt
import re
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import text

from scheduler import deliverer
from scheduler.deliverer import Deliverer, Terms
from tests.integration.hooking import desk, hook, rows, run
from tests.integration.receivers import Receiver, receiving, sender, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.webhooks.sending import Sender
    from latentfarm.webhooks.slots import Slots

QUICK = Terms(try_s=1.0, lease_s=3.0, plan=(0.05, 0.05, 0.05))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@contextmanager
def delivering(
    repository: Repository, settings: Settings, out: Sender, terms: Terms = QUICK, slots: Slots | None = None
) -> Iterator[Deliverer]:
    made = Deliverer(
        repository, out, settings.database_url, api_url="http://farm.example", terms=terms, slots=slots
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
        made.join(10)


def states(repository: Repository) -> list[str]:
    return [row.state for row in rows(repository)]


def test_an_event_is_delivered_signed_and_in_the_standards_headers(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook_id, secret = hook(repository, receiver, "/ok?a=b")
    with delivering(repository, settings, sender(receiver)):
        job_id = run(repository, metadata={"order": "7"})
        until("delivered", lambda: states(repository) == ["delivered"])
    (got,) = receiver.got
    body = got.verify(secret)
    assert (body["type"], body["data"]["id"], body["data"]["metadata"]) == (
        "job.succeeded",
        str(job_id),
        {"order": "7"},
    )
    assert body["data"]["url"] == f"http://farm.example/v1/jobs/{job_id}"
    assert re.fullmatch(r"msg_[0-9a-f]{32}", got.id)
    assert got.headers["content-type"] == "application/json"
    assert b"canary" not in got.body
    (entry,) = rows(repository)[0].log
    assert (entry["status"], entry["error"]) == (200, None)
    assert desk(repository).get(hook_id, tenant="t").failing_since is None


def test_it_is_signed_by_the_clock_of_the_database(
    repository: Repository, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receivers refuse what is more than five minutes off, and would for good where a scheduler's clock is."""

    class Behind(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Behind:
            return cls.fromtimestamp(time.time() - 3600, tz)

    monkeypatch.setattr(deliverer, "datetime", Behind, raising=False)
    _, secret = hook(repository, receiver)
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("delivered", lambda: states(repository) == ["delivered"])
    receiver.got[0].verify(secret)
    entry = rows(repository)[0].log[0]
    assert abs(dt.datetime.fromisoformat(entry["at"]).timestamp() - time.time()) < 60


def test_a_url_of_a_job_is_signed_with_the_secret_that_the_tenant_reads_before_or_after(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    before = desk(repository).default_secret("early")
    with delivering(repository, settings, sender(receiver)):
        for tenant in ("early", "t"):
            run(repository, tenant=tenant, webhook={"url": receiver.url(f"/ok/{tenant}")})
        until("both", lambda: len(receiver.got) == 2)
    assert desk(repository).default_secret("early") == before
    receiver.at("/ok/early")[0].verify(before)
    receiver.at("/ok/t")[0].verify(desk(repository).default_secret("t"))


@pytest.mark.parametrize("manner", ["500", "404", "redirect", "hang", "drop", "long", "301"])
def test_what_fails_is_tried_again_under_one_id(
    repository: Repository, settings: Settings, receiver: Receiver, manner: str
) -> None:
    _, secret = hook(repository, receiver, f"/{manner}-then-ok")
    receiver.fails = 2
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("delivered", lambda: states(repository) == ["delivered"])
    assert [one.taken for one in receiver.got] == [False, False, True]
    assert len(receiver.ids()) == 1
    assert {one.path for one in receiver.got} == {f"/{manner}-then-ok"}, "no redirect was followed"
    for one in receiver.got:
        one.verify(secret)
    (row,) = rows(repository)
    assert row.tries == 2
    told = [entry["error"] for entry in row.log]
    assert told[2] is None
    assert told[0] == told[1] != None  # noqa: E711 - compared in one go


AFTER = "extract(epoch FROM due_at - (log -> 0 ->> 'at')::timestamptz)::float AS wait_s, state, log -> 0 ->> 'error' AS error"
PATIENT = replace(QUICK, plan=(1.0, 300.0, 1.0))


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [
        ("/503?after=120", 120, 150),
        ("/429?after=120", 120, 150),
        ("/503?after=DATE", 115, 150),
        # Not for longer than the plan itself would ever wait.
        ("/429?after=999999999", 300, 365),
        ("/503?after=0", 0.5, 3),
        ("/503?after=-5", 0.5, 3),
        ("/503?after=soon", 0.5, 3),
        # Of others it means nothing.
        ("/500?after=120", 0.5, 3),
        ("/301?after=120", 0.5, 3),
    ],
)
def test_it_is_not_tried_again_sooner_than_the_receiver_asks(
    repository: Repository, settings: Settings, receiver: Receiver, path: str, least: float, most: float
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    hook(repository, receiver, path.replace("DATE", quote(date)))
    with delivering(repository, settings, sender(receiver), PATIENT):
        run(repository)
        until("tried", lambda: all(row.log for row in rows(repository)) and len(receiver.got) > 0)
    (row,) = rows(repository, AFTER)
    assert row.state == "due"
    assert least <= row.wait_s <= most
    assert ("asks for" in row.error) == (least >= 100)


def test_a_length_that_is_not_true_changes_nothing(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook(repository, receiver, "/lie")
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("delivered", lambda: states(repository) == ["delivered"])
    assert len(receiver.got) == 1


def test_after_the_last_try_it_is_given_up_and_a_replay_sends_it_again_under_its_id(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook_id, _ = hook(repository, receiver, "/500-then-ok")
    receiver.fails = 4
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("given up", lambda: states(repository) == ["failed"])
        assert len(receiver.got) == 1 + len(QUICK.plan)
        desk(repository).replay(hook_id, str(rows(repository)[0].id), tenant="t")
        until("delivered", lambda: states(repository) == ["delivered"])
    assert len(receiver.ids()) == 1
    assert len(receiver.got) == 5


def test_a_replay_of_a_time_sends_what_was_given_up_in_it(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook_id, secret = hook(repository, receiver, "/ok")
    for _ in range(5):
        run(repository)
    back = (
        "UPDATE deliveries SET state = :state, created_at = now() - make_interval(hours => :h) WHERE id = :id"
    )
    for hours, row in enumerate(rows(repository)):
        state = "delivered" if hours == 2 else "failed"
        values = {"state": state, "h": hours + 1, "id": row.id}
        repository.transact(lambda c, v=values: c.execute(text(back), v))  # type: ignore[misc]
    at = {
        round(row.age): row.id
        for row in rows(repository, "id, extract(epoch FROM now() - created_at)::float / 3600 AS age")
    }
    times = rows(repository, "now() - interval '4.5 h' AS since, now() - interval '1.5 h' AS until")[0]
    found = desk(repository).replay_range(
        hook_id, tenant="t", since=times.since, until=times.until, state="failed"
    )
    assert found == 2
    with delivering(repository, settings, sender(receiver)):
        until("sent", lambda: len(receiver.got) == 2)
    assert receiver.ids() == {f"msg_{at[hours].hex}" for hours in (2, 4)}
    for one in receiver.got:
        one.verify(secret)
