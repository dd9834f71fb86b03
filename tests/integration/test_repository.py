"""The life of renders in SQL: claims, fences, hand-over, failure, rescue, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.records import Claimed, Done, Failure, Job, ObjectRef
from latentfarm.repository import claiming, failing, finishing
from latentfarm.retry import MAX_STARTS, MAX_TRIES
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import JobState, RenderState, Stage

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.messages import Pair
    from latentfarm.repository.facade import Repository

REF = ObjectRef("v1/x", b"\0" * 32, 7)


def submit(repository: Repository, n: int = 1, *, refine: bool = True, **fields: object) -> UUID:
    spec = RenderSpec(
        prompt="a red circle",
        width=64,
        height=64,
        num_images=n,
        seed=9007199254740990,
        refiner=RefinerSpec() if refine else None,
        **fields,
    )
    job_id = new_id()
    repository.add_job(job_id, spec, tenant="")
    return job_id


def register(repository: Repository) -> int:
    return repository.register(
        host="h", pid=1, device="cpu", stages=[Stage.BASE, Stage.REFINE], models=["tiny"], lease_s=20
    )


def dispatch_all(repository: Repository) -> list[Pair]:
    return [
        (pick.render_id, pick.fence)
        for queue in repository.queues()
        for pick in repository.pick(queue, window_per_worker=10_000).picks
    ]


def claim(repository: Repository, worker: int, pairs: list[Pair] | None = None) -> list[Claimed]:
    wanted = dispatch_all(repository) if pairs is None else pairs
    return repository.transact(lambda c: claiming.claim(c, worker, wanted))


def done(claimed: list[Claimed]) -> list[Done]:
    return [Done(item.render_id, item.fence, REF, 4) for item in claimed]


def job(repository: Repository, job_id: UUID) -> Job:
    found = repository.get_job(job_id, tenant="")
    assert found is not None
    return found


def one(repository: Repository, sql: str, **values: object) -> object:
    return repository.transact(lambda c: c.execute(text(sql), values).scalar_one())


def test_a_job_passes_through_both_stages(repository: Repository) -> None:
    job_id, worker = submit(repository, 3), register(repository)
    base = claim(repository, worker)
    assert [item.stage for item in base] == [Stage.BASE] * 3
    assert job(repository, job_id).state is JobState.RUNNING
    assert all(item.key.startswith("v1/latents/") for item in base)
    repository.transact(lambda c: finishing.hand_over(c, done(base)))
    refine = claim(repository, worker)
    assert [(item.stage, item.latents) for item in refine] == [
        (Stage.REFINE, ObjectRef(item.key, REF.sha256, 7)) for item in base
    ]
    repository.transact(lambda c: finishing.finish(c, done(refine)))
    assert job(repository, job_id).state is JobState.SUCCEEDED
    assert [image.state for image in repository.images(job_id)] == [RenderState.SUCCEEDED] * 3
    assert one(repository, "SELECT queued + remaining FROM jobs") == 0


def test_seeds_wrap_at_two_to_the_53(repository: Repository) -> None:
    job_id = submit(repository, 4)
    assert [image.seed for image in repository.images(job_id)] == [2**53 - 2, 2**53 - 1, 0, 1]


def test_the_same_message_is_claimed_once(repository: Repository) -> None:
    submit(repository, 4)
    first, second = register(repository), register(repository)
    pairs = dispatch_all(repository)
    assert len(claim(repository, first, pairs)) == 4
    assert claim(repository, second, pairs) == []


def test_an_ended_incarnation_claims_nothing(repository: Repository) -> None:
    submit(repository)
    worker = register(repository)
    repository.end_worker(worker, "test")
    assert claim(repository, worker) == []


def test_a_stale_writer_is_refused_by_the_fence(repository: Repository) -> None:
    job_id, worker = submit(repository, refine=False), register(repository)
    stale = claim(repository, worker)
    repository.end_worker(worker, "died")
    fresh = claim(repository, register(repository))
    assert fresh[0].fence > stale[0].fence
    assert repository.transact(lambda c: finishing.finish(c, done(stale))) == set()
    assert job(repository, job_id).state is JobState.RUNNING
    accepted = repository.transact(lambda c: finishing.finish(c, done(fresh)))
    assert accepted == {(fresh[0].render_id, fresh[0].fence)}


def test_a_finish_whose_answer_was_lost_may_be_repeated(repository: Repository) -> None:
    job_id, worker = submit(repository), register(repository)
    base = claim(repository, worker)
    for _ in range(2):
        assert len(repository.transact(lambda c: finishing.hand_over(c, done(base)))) == 1
    refine = claim(repository, worker)
    assert len(refine) == 1
    for _ in range(2):
        assert len(repository.transact(lambda c: finishing.finish(c, done(refine)))) == 1
    assert one(repository, "SELECT count(*) FROM outbox WHERE type = 'job.succeeded'") == 1
    assert job(repository, job_id).remaining == 0


def test_a_charged_failure_is_tried_three_times(repository: Repository) -> None:
    job_id, worker = submit(repository, refine=False), register(repository)
    for _ in range(MAX_TRIES):
        one(repository, "UPDATE renders SET due_at = now() RETURNING 1")
        claimed = claim(repository, worker)
        failure = Failure(claimed[0].render_id, claimed[0].fence, ErrorClass.NON_FINITE, "NaN")
        repository.transact(lambda c, failure=failure: failing.fail(c, [failure]))  # type: ignore[misc]
    assert job(repository, job_id).state is JobState.FAILED
    assert repository.images(job_id)[0].error == "non_finite: NaN"


def test_lost_latents_send_the_render_back_to_the_base(repository: Repository) -> None:
    submit(repository)
    worker = register(repository)
    base = claim(repository, worker)
    repository.transact(lambda c: finishing.hand_over(c, done(base)))
    refine = claim(repository, worker)
    failure = Failure(refine[0].render_id, refine[0].fence, ErrorClass.LATENTS, "gone")
    repository.transact(lambda c: failing.fail(c, [failure]))
    assert one(repository, "SELECT state FROM objects WHERE kind = 'latents'") == "going"
    one(repository, "UPDATE renders SET due_at = now() RETURNING 1")
    assert [item.stage for item in claim(repository, worker)] == [Stage.BASE]


def test_draining_charges_nothing_and_refunds_the_start(repository: Repository) -> None:
    submit(repository, refine=False)
    worker = register(repository)
    for _ in range(MAX_STARTS + 2):
        claimed = claim(repository, worker)
        pairs = [(item.render_id, item.fence) for item in claimed]
        repository.transact(lambda c, pairs=pairs: failing.release(c, pairs))  # type: ignore[misc]
    assert one(repository, "SELECT tries + starts FROM renders") == 0


def test_only_a_death_alone_is_charged(repository: Repository) -> None:
    job_id = submit(repository, 2, refine=False)
    first = register(repository)
    claim(repository, first)
    repository.end_worker(first, "died")
    assert one(repository, "SELECT sum(tries) FROM renders") == 0
    assert one(repository, "SELECT bool_and(suspect) FROM renders") is True
    for _ in range(MAX_TRIES):
        worker = register(repository)
        claim(repository, worker)
        repository.end_worker(worker, "died")
    assert job(repository, job_id).state is JobState.FAILED
    assert job(repository, job_id).failed == 2


@pytest.mark.parametrize("when", ["queued", "dispatched", "running"])
def test_cancel_ends_a_job_at_any_moment(repository: Repository, when: str) -> None:
    job_id, worker = submit(repository, 3, refine=False), register(repository)
    pairs = dispatch_all(repository) if when != "queued" else []
    claimed = claim(repository, worker, pairs) if when == "running" else []
    assert repository.mark_cancelled(job_id, tenant="")
    assert repository.cancel_renders(job_id) == 3
    assert job(repository, job_id).state is JobState.CANCELLED
    assert repository.transact(lambda c: finishing.finish(c, done(claimed))) == set() or not claimed
    assert claim(repository, worker, pairs or dispatch_all(repository)) == []
    assert not repository.mark_cancelled(job_id, tenant="")


def test_a_lease_that_is_over_is_rescued(repository: Repository) -> None:
    submit(repository, 2, refine=False)
    worker = register(repository)
    claim(repository, worker)
    one(repository, "UPDATE workers SET lease_until = now() - interval '1 s' RETURNING 1")
    assert repository.rescue_expired(lease_s=0)[0] == [worker]
    assert not repository.renew(worker, lease_s=20)
    assert one(repository, "SELECT count(*) FROM renders WHERE state = 0 AND suspect") == 2


def test_nobody_is_rescued_while_the_database_is_young(repository: Repository) -> None:
    register(repository)
    one(repository, "UPDATE workers SET lease_until = now() - interval '1 s' RETURNING 1")
    assert repository.rescue_expired(lease_s=100_000) == ([], [])


def test_the_window_bounds_what_is_dispatched(repository: Repository) -> None:
    submit(repository, 50)
    queue = repository.queues()[0]
    register(repository)
    assert len(repository.pick(queue, window_per_worker=24).picks) == 24
    assert repository.pick(queue, window_per_worker=24).picks == ()
    register(repository)
    assert len(repository.pick(queue, window_per_worker=24).picks) == 24


def test_the_window_is_wider_for_a_worker_that_holds_many(repository: Repository) -> None:
    submit(repository, 200)
    worker = register(repository)
    repository.mark_ready(worker, {"capacity": 40})
    (queue,) = repository.queues()
    assert len(repository.pick(queue, window_per_worker=24).picks) == 80
    repository.mark_ready(worker, {"capacity": 4})
    assert repository.pick(queue, window_per_worker=24).picks == ()


def test_picks_are_counted_off_each_job(repository: Repository) -> None:
    jobs = [submit(repository, 3), submit(repository, 5)]
    (queue,) = repository.queues()
    repository.pick(queue, window_per_worker=4)
    repository.pick(queue, window_per_worker=6)
    left = text("SELECT id, queued FROM jobs")
    counted = repository.transact(lambda c: {row.id: row.queued for row in c.execute(left)})
    assert counted == {jobs[0]: 0, jobs[1]: 2}


def test_priority_goes_first_within_a_lane(repository: Repository) -> None:
    submit(repository, 2)
    urgent = submit(repository, 1, priority=5)
    queue = repository.queues()[0]
    first = repository.pick(queue, window_per_worker=1).picks[0].render_id
    assert one(repository, "SELECT job_id FROM renders WHERE id = :id", id=first) == urgent


def test_a_host_that_vanishes_charges_not_even_what_ran_alone(repository: Repository) -> None:
    submit(repository)
    for _ in range(2):
        worker = register(repository)
        (claimed,) = claim(repository, worker)
        repository.transact(
            lambda c: c.execute(text("UPDATE workers SET lease_until = now() - interval '1 s'"))
        )
        assert repository.rescue_expired(lease_s=0.0) == ([worker], [claimed.render_id])
    assert claimed.alone
    row = repository.transact(lambda c: c.execute(text("SELECT tries, starts, suspect FROM renders")).one())
    assert tuple(row) == (0, 2, True)
