"""What every store of records must do for dispatch and for the use cases. PostgreSQL is the only one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import Conflict
from latentfarm.ids import new_id
from latentfarm.records import Picked
from latentfarm.repository import dispatching
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import JobState, Lane, Stage

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.lifecycle import JobRecords
    from latentfarm.repository.facade import Repository

SPEC = RenderSpec(prompt="a red circle", seed=7, num_images=20, width=64, height=64, metadata={"order": "42"})


@pytest.fixture
def records(repository: Repository) -> JobRecords:
    """The static type says that the adapter fits."""
    return repository


def add(records: JobRecords, **fields: object) -> UUID:
    job_id = new_id()
    queue, known = records.add_job(job_id, SPEC.model_copy(update=fields), tenant="t")
    assert known is None
    assert queue in {queue.id for queue in records.queues()}
    return job_id


def test_a_job_is_read_as_it_was_stored(records: JobRecords) -> None:
    job = records.get_job(add(records), tenant="t")
    assert job is not None
    assert (job.state, job.seed, job.num_images, job.remaining) == (JobState.QUEUED, 7, 20, 20)
    assert (job.spec["prompt"], job.metadata) == ("a red circle", {"order": "42"})


def test_a_job_is_shown_to_its_own_tenant_only(records: JobRecords) -> None:
    job_id = add(records)
    assert records.get_job(job_id, tenant="other") is None
    assert not records.mark_cancelled(job_id, tenant="other")


def test_each_model_and_lane_waits_in_a_queue_of_its_own(records: JobRecords) -> None:
    add(records)
    add(records, lane=Lane.BULK)
    add(records, model="other", refiner=RefinerSpec())
    assert {(queue.name, queue.stage) for queue in records.queues()} == {
        ("base.tiny.interactive", Stage.BASE),
        ("base.tiny.bulk", Stage.BASE),
        ("base.other.interactive", Stage.BASE),
    }


def test_a_pick_is_bounded_by_the_window_and_picked_once(records: JobRecords) -> None:
    add(records)
    queue = records.queues()[0]
    first = records.pick(queue, window_per_worker=12)
    assert (first.queue, len(first.picks), first.workers, first.capacity) == (queue, 12, 0, 0)
    assert records.pick(queue, window_per_worker=12).picks == ()
    second = records.pick(queue, window_per_worker=100)
    assert len({pick.render_id for pick in [*first.picks, *second.picks]}) == 20
    assert records.count_dispatched(queue) == 20


def add_at_once(records: JobRecords, least: int) -> Picked:
    stored, known = records.add_job(new_id(), SPEC, tenant="t", window_per_worker=least)
    assert known is None
    assert isinstance(stored, Picked)
    return stored


def test_a_job_leaves_the_backlog_with_the_transaction_that_stores_it(records: JobRecords) -> None:
    stored = add_at_once(records, least=100)
    assert (stored.queue.name, len(stored.picks), stored.workers) == ("base.tiny.interactive", 20, 0)
    assert records.count_dispatched(stored.queue) == 20
    assert records.pick(stored.queue, window_per_worker=100).picks == ()


def test_no_more_leaves_the_backlog_than_the_window_takes(records: JobRecords) -> None:
    stored = add_at_once(records, least=12)
    assert len(stored.picks) == 12
    assert [pick.render_id for pick in stored.picks] == sorted(pick.render_id for pick in stored.picks)
    assert len(records.pick(stored.queue, window_per_worker=100).picks) == 8
    assert add_at_once(records, least=20).picks == ()


def test_a_job_does_not_overtake_what_waits_in_its_queue(records: JobRecords) -> None:
    add(records)
    stored, _ = records.add_job(new_id(), SPEC, tenant="t", window_per_worker=100)
    (queue,) = records.queues()
    assert stored == queue.id
    assert records.count_dispatched(queue) == 0
    assert len(records.pick(queue, window_per_worker=100).picks) == 40


def test_a_job_does_not_wait_for_another_dispatcher(repository: Repository) -> None:
    add(repository)
    (queue,) = repository.queues()
    with repository.engine.begin() as other:
        dispatching.lock_queue(other, queue.id)
        stored, _ = repository.add_job(new_id(), SPEC, tenant="t", window_per_worker=100)
        assert stored == queue.id
    assert repository.count_dispatched(queue) == 0


def test_lost_ones_are_bounded_by_age_and_room(records: JobRecords) -> None:
    add(records)
    queue = records.queues()[0]
    records.pick(queue, window_per_worker=12)
    assert records.take_lost(queue, after_s=60.0, room=100) == []
    assert len(records.take_lost(queue, after_s=0.0, room=5)) == 5
    assert len(records.take_lost(queue, after_s=0.0, room=100)) == 12


def test_a_cancelled_job_is_over_at_once_and_once(records: JobRecords) -> None:
    job_id = add(records)
    assert records.mark_cancelled(job_id, tenant="t")
    assert records.cancel_renders(job_id) == 20
    assert records.cancel_renders(job_id) == 0
    assert not records.mark_cancelled(job_id, tenant="t")
    job = records.get_job(job_id, tenant="t")
    assert job is not None
    assert (job.state, job.remaining) == (JobState.CANCELLED, 0)
    assert records.pick(records.queues()[0], window_per_worker=100).picks == ()


def test_of_racing_requests_with_one_key_one_makes_the_job(records: JobRecords) -> None:
    made: list[UUID] = []
    known: list[UUID] = []

    def request() -> None:
        job_id = new_id()
        queue, before = records.add_job(job_id, SPEC, tenant="t", key="k", fingerprint=b"body")
        if before is None:
            assert queue is not None
            made.append(job_id)
        else:
            assert before[0] == b"body"
            known.append(before[1])

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(made) == 1
    assert known == made * 7


def test_a_request_waits_for_the_first_one_for_two_seconds(repository: Repository) -> None:
    """Then it is told to come again."""
    from latentfarm.repository import submitting

    with repository.engine.begin() as first:
        submitting.remember_key(first, "t", "k", b"body", new_id())
        with pytest.raises(Conflict, match="Idempotency-Key"):
            repository.add_job(new_id(), SPEC, tenant="t", key="k", fingerprint=b"body")
