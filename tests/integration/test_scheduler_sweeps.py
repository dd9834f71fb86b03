"""What the scheduler puts right: each duty against real services."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, text

from latentfarm.database import transact
from latentfarm.dispatch import dispatch
from latentfarm.messages import CHUNK
from latentfarm.records import Done
from latentfarm.repository import failing, finishing
from latentfarm.states import JobState
from scheduler.duties import Duties
from tests.integration.test_repository import claim, done, job, one, register, submit

if TYPE_CHECKING:
    from latentfarm.broker import Broker
    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

Sweep = Callable[[Callable[[Connection], str]], str]


@pytest.fixture
def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    return Duties(
        repository, broker, store, settings.model_copy(update={"collect_after_s": 0.0, "lease_s": 0.1})
    )


@pytest.fixture
def sweep(repository: Repository) -> Sweep:
    """Runs one duty in a transaction of its own."""
    return lambda duty: transact(repository.engine, duty)


def _put(store: S3Store, claimed: list[Claimed]) -> list[Done]:
    """Uploads something for every claim."""
    return [
        Done(item.render_id, item.fence, store.put(item.key, b"x" * 10, "image/png"), 4) for item in claimed
    ]


def _keys(store: S3Store, claimed: list[Claimed]) -> set[str]:
    return {item.key for item in claimed} & set(store.list_keys("v1/"))


def _do(repository: Repository, sql: str) -> None:
    repository.transact(lambda c: c.execute(text(sql)))


# Redis


def test_what_a_flush_took_is_sent_again_at_once(
    repository: Repository, broker: Broker, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 60)
    register(repository)
    queue = repository.queues()[0]
    assert dispatch(repository, broker, queue) == 24
    broker.mark_epoch()
    broker.redis.flushall()
    assert sweep(duties.republish) == "sent 24 renders again after a flush"
    assert broker.length(queue.name) == 24 // CHUNK
    assert sweep(duties.republish) == ""
    assert broker.length(queue.name) == 24 // CHUNK


def test_a_flush_sends_nothing_that_has_not_been_dispatched(
    repository: Repository, broker: Broker, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 5)
    broker.redis.flushall()
    assert sweep(duties.republish) == ""
    assert broker.length(repository.queues()[0].name) == 0


def test_a_message_that_was_taken_and_lost_is_repeated_when_it_is_old(
    repository: Repository, broker: Broker, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 24)
    register(repository)
    queue = repository.queues()[0]
    dispatch(repository, broker, queue)
    broker.mark_epoch()
    for _ in range(2):
        broker.redis.rpop(queue.name)
    assert sweep(duties.republish) == ""
    _do(repository, "UPDATE renders SET sent_at = now() - interval '6 s'")
    assert sweep(duties.republish) == "sent 24 renders again"
    assert broker.length(queue.name) <= 2 * 24


def test_a_repeat_waits_twice_as_long_as_the_one_before(
    repository: Repository, broker: Broker, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 1)
    register(repository)
    dispatch(repository, broker, repository.queues()[0])
    broker.mark_epoch()
    for age_s, again in ((6, True), (6, False), (11, True), (11, False), (21, True)):
        broker.redis.delete(repository.queues()[0].name)
        _do(repository, f"UPDATE renders SET sent_at = now() - interval '{age_s} s'")
        assert bool(sweep(duties.republish)) == again, age_s


@pytest.mark.parametrize("reason", ["exit -9", "drained"])
def test_what_an_ended_worker_had_taken_is_sent_again_within_seconds(
    repository: Repository, broker: Broker, duties: Duties, sweep: Sweep, reason: str
) -> None:
    submit(repository, 12)
    ended, _ = register(repository), register(repository)
    queue = repository.queues()[0]
    dispatch(repository, broker, queue)
    broker.mark_epoch()
    # Small messages: the list looks long enough to hold all that is dispatched, and does not.
    broker.redis.rpop(queue.name)
    assert broker.length(queue.name) * CHUNK >= 12
    repository.end_worker(ended, reason)
    assert sweep(duties.republish) == ""
    _do(repository, "UPDATE renders SET sent_at = now() - interval '6 s'")
    assert sweep(duties.republish) == "sent 12 renders again"
    _do(repository, "UPDATE renders SET sent_at = now() - interval '6 s'")
    assert sweep(duties.republish) == "", "once for each end"


def test_messages_of_suspects_do_not_multiply_with_every_death(
    repository: Repository, broker: Broker, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 12)
    ended, _ = register(repository), register(repository)
    _do(repository, "UPDATE renders SET suspect = true")
    dispatch(repository, broker, repository.queues()[0])
    broker.mark_epoch()
    repository.end_worker(ended, "exit -9")
    _do(repository, "UPDATE renders SET sent_at = now() - interval '6 s'")
    assert sweep(duties.republish) == ""
    _do(repository, "UPDATE renders SET sent_at = now() - interval '61 s'")
    assert sweep(duties.republish) == "sent 12 renders again"


# Objects


def test_the_collector_removes_what_was_uploaded_and_given_up(
    repository: Repository, store: S3Store, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 3, refine=False)
    claimed = claim(repository, register(repository))
    _put(store, claimed)
    assert sweep(duties.collect) == ""
    assert len(_keys(store, claimed)) == 3
    pairs = [(item.render_id, item.fence) for item in claimed]
    repository.transact(lambda c: failing.release(c, pairs))
    assert sweep(duties.collect) == "marked 3 objects"
    assert len(_keys(store, claimed)) == 3
    assert sweep(duties.collect) == "deleted 3 objects"
    assert _keys(store, claimed) == set()
    assert one(repository, "SELECT count(*) FROM objects") == 0


def test_the_collector_leaves_what_is_visible(
    repository: Repository, store: S3Store, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 2, refine=False)
    claimed = claim(repository, register(repository))
    finished = _put(store, claimed)
    repository.transact(lambda c: finishing.finish(c, finished))
    assert sweep(duties.collect) == ""
    assert len(_keys(store, claimed)) == 2


def test_the_collector_gives_an_upload_its_time(
    repository: Repository, store: S3Store, settings: Settings, broker: Broker, sweep: Sweep
) -> None:
    submit(repository, 1, refine=False)
    claimed = claim(repository, register(repository))
    _put(store, claimed)
    repository.transact(lambda c: failing.release(c, [(claimed[0].render_id, claimed[0].fence)]))
    patient = Duties(repository, broker, store, settings)
    assert sweep(patient.collect) == ""
    assert len(_keys(store, claimed)) == 1


def test_an_object_that_was_never_uploaded_is_forgotten_too(
    repository: Repository, duties: Duties, sweep: Sweep
) -> None:
    job_id = submit(repository, 2, refine=False)
    claim(repository, register(repository))
    repository.mark_cancelled(job_id, tenant="")
    repository.cancel_renders(job_id)
    assert sweep(duties.collect) == "marked 2 objects"
    assert sweep(duties.collect) == "deleted 2 objects"


def test_a_crash_between_the_object_and_its_row_is_made_good(
    repository: Repository, store: S3Store, duties: Duties, sweep: Sweep
) -> None:
    submit(repository, 2, refine=False)
    claimed = claim(repository, register(repository))
    _put(store, claimed)
    repository.transact(lambda c: failing.release(c, [(item.render_id, item.fence) for item in claimed]))
    assert sweep(duties.collect) == "marked 2 objects"
    with repository.engine.connect() as connection:
        assert duties.collect(connection) == "deleted 2 objects"
        connection.rollback()
    assert _keys(store, claimed) == set()
    assert sweep(duties.collect) == "deleted 2 objects"
    assert one(repository, "SELECT count(*) FROM objects") == 0


@pytest.mark.parametrize(("keep_latents", "kept"), [(0, False), (3600, True)])
def test_latents_go_when_they_are_no_longer_kept(
    repository: Repository, store: S3Store, duties: Duties, sweep: Sweep, *, keep_latents: int, kept: bool
) -> None:
    submit(repository, 1, keep_latents=keep_latents)
    worker = register(repository)
    base = claim(repository, worker)
    handed = _put(store, base)
    repository.transact(lambda c: finishing.hand_over(c, handed))
    assert sweep(duties.drop_latents) == ""
    refine = claim(repository, worker)
    finished = _put(store, refine)
    repository.transact(lambda c: finishing.finish(c, finished))
    assert sweep(duties.drop_latents) == ("" if kept else "marked 1 latents")
    sweep(duties.collect)
    assert bool(_keys(store, base)) == kept
    assert len(_keys(store, refine)) == 1


# Jobs


def test_a_cancel_that_was_cut_in_half_is_finished(
    repository: Repository, duties: Duties, sweep: Sweep
) -> None:
    job_id = submit(repository, 3, refine=False)
    claim(repository, register(repository))
    repository.mark_cancelled(job_id, tenant="")
    assert sweep(duties.finish_cancels) == ""
    _do(repository, "UPDATE jobs SET cancelled_at = now() - interval '3 s'")
    assert sweep(duties.finish_cancels) == "cancelled 3 renders"
    assert job(repository, job_id).state is JobState.CANCELLED
    assert sweep(duties.finish_cancels) == ""
    assert one(repository, "SELECT count(*) FROM outbox WHERE type = 'job.cancelled'") == 1


def test_a_wrong_counter_leaves_no_job_open(repository: Repository, duties: Duties, sweep: Sweep) -> None:
    job_id = submit(repository, 2, refine=False)
    _do(repository, "UPDATE jobs SET remaining = 3")
    claimed = claim(repository, register(repository))
    repository.transact(lambda c: finishing.finish(c, done(claimed)))
    assert job(repository, job_id).state is JobState.RUNNING
    assert sweep(duties.recheck_jobs) == ""
    _do(repository, "UPDATE jobs SET created_at = now() - interval '11 s'")
    assert sweep(duties.recheck_jobs) == "ended 1 jobs"
    assert job(repository, job_id).state is JobState.SUCCEEDED
    assert sweep(duties.recheck_jobs) == ""
    assert one(repository, "SELECT count(*) FROM outbox WHERE type = 'job.succeeded'") == 1


def test_a_job_that_still_runs_is_not_ended(repository: Repository, duties: Duties, sweep: Sweep) -> None:
    submit(repository, 2, refine=False)
    claimed = claim(repository, register(repository))
    repository.transact(lambda c: finishing.finish(c, done(claimed[:1])))
    _do(repository, "UPDATE jobs SET created_at = now() - interval '11 s'")
    assert sweep(duties.recheck_jobs) == ""


# Leases


def test_a_silent_incarnation_loses_its_renders(repository: Repository, duties: Duties, sweep: Sweep) -> None:
    submit(repository, 2, refine=False)
    worker = register(repository)
    claim(repository, worker)
    assert sweep(duties.rescue) == ""
    _do(repository, "UPDATE workers SET lease_until = now() - interval '1 s'")
    assert sweep(duties.rescue) == f"ended workers [{worker}], took back 2 renders"
    assert sweep(duties.rescue) == ""
    assert one(repository, "SELECT count(*) FROM renders WHERE state = 0 AND owner IS NULL AND suspect") == 2


def test_what_an_ended_incarnation_still_owns_is_taken_back(
    repository: Repository, duties: Duties, sweep: Sweep
) -> None:
    """As after a crash between ending a worker and taking its renders back."""
    submit(repository, 1, refine=False)
    claim(repository, register(repository))
    _do(repository, "UPDATE workers SET ended_at = now()")
    assert sweep(duties.rescue) == "ended workers [], took back 1 renders"
