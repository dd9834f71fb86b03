"""Deliveries of jobs that are thrown away: what was told is kept no longer, what was not is told first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.ids import new_id
from latentfarm.repository import deleting, delivering, outgoing, sets
from tests.integration.hooking import hook, rows, run, spread, submit
from tests.integration.receivers import Receiver, receiving, sender, until
from tests.integration.test_deliverer import delivering as deliverer
from tests.integration.test_deliverer import states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def throw(repository: Repository, job: UUID) -> None:
    if repository.mark_deleted(job, tenant="t"):
        repository.cancel_renders(job)


def forget(repository: Repository) -> int:
    return repository.transact(lambda c: delivering.forget(c, keep_s=86_400, limit=10))


def test_what_was_told_goes_with_the_job_and_with_no_other(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook(repository, receiver)
    hook(repository, receiver, "/410")
    with deliverer(repository, settings, sender(receiver)):
        thrown = run(repository, metadata={"order": "7"})
        kept = run(repository)
        until("told", lambda: "due" not in states(repository) and len(states(repository)) >= 3)
    others = [row.job_id for row in rows(repository) if row.job_id != thrown]
    assert forget(repository) == 0
    throw(repository, thrown)
    throw(repository, thrown)
    assert forget(repository) == 2
    assert [row.job_id for row in rows(repository)] == others
    assert set(others) == {kept}


def test_what_waits_is_told_first(repository: Repository, settings: Settings, receiver: Receiver) -> None:
    _, secret = hook(repository, receiver, "/500-then-ok")
    waits = run(repository)
    written = submit(repository)
    throw(repository, waits)
    throw(repository, written)  # it ends by that, and nobody has made a delivery of it
    assert forget(repository) == 0
    with deliverer(repository, settings, sender(receiver)):
        until("told", lambda: states(repository) == ["delivered"] * 2)
    told = {one.verify(secret)["type"] for one in receiver.got if one.taken}
    assert told == {"job.succeeded", "job.cancelled"}
    assert forget(repository) == 2
    assert rows(repository) == []


def test_what_is_given_up_goes_too_and_what_is_sent_again_is_sent(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook(repository, receiver, "/500")
    job = run(repository)
    throw(repository, job)
    with deliverer(repository, settings, sender(receiver)):
        until("given up", lambda: states(repository) == ["failed"])
    again = "UPDATE deliveries SET state = 'due' RETURNING id"
    repository.transact(lambda c: c.execute(text(again)))
    assert forget(repository) == 0
    repository.transact(lambda c: c.execute(text(again.replace("due", "failed"))))
    assert forget(repository) == 1


@pytest.mark.parametrize("first", ["spread", "throw"])
def test_news_that_is_spread_just_then_is_let_go(
    repository: Repository, receiver: Receiver, first: str
) -> None:
    """Whoever comes second waits for the other, or finds out."""
    hook(repository, receiver)
    job = submit(repository)
    repository.mark_cancelled(job, tenant="t")
    repository.cancel_renders(job)

    def spreading() -> None:
        spread(repository)

    def throwing() -> None:
        throw(repository, job)

    with ThreadPoolExecutor(1) as pool, repository.engine.begin() as connection:
        if first == "spread":
            outgoing.spread(connection, limit=10)
            other = pool.submit(throwing)
            with pytest.raises(TimeoutError):
                other.result(0.5)
        else:
            deleting.mark_deleted(connection, job, tenant="t")
            other = pool.submit(spreading)
            other.result(10)  # it leaves what is locked for the next time
        connection.commit()
        other.result(10)
    assert [(row.state, row.let_go) for row in rows(repository)] == [("due", True)]


def test_what_was_told_of_a_refused_manifest_goes_with_its_dataset(
    repository: Repository, receiver: Receiver
) -> None:
    hook(repository, receiver)
    dataset = new_id()
    given = {"tenant": "t", "name": "birds", "request": {}, "seed": 1, "report": {}}
    repository.transact(lambda c: sets.add(c, dataset, **given))  # type: ignore[arg-type]
    repository.transact(lambda c: sets.reject(c, dataset, {"field": "x"}))
    (row,) = rows(repository)
    assert (row.job_id, row.let_go) == (dataset, False)
    repository.transact(lambda c: deleting.mark_dataset_deleted(c, dataset, "birds", tenant="t"))
    assert rows(repository)[0].let_go
