"""Dispatch by tenants and jobs in real SQL: shares, order, back-offs, caps, pauses, charges."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.fairness.limits import LATENTS_MOST, PILE
from latentfarm.ids import new_id
from latentfarm.records import Done, ObjectRef, Picked, Queue
from latentfarm.repository import claiming, finishing, mending, waiting
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane
from tests.integration.test_repository import one, register

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from latentfarm.records import Pick
    from latentfarm.repository.facade import Repository


def add(repository: Repository, n: int = 1, tenant: str = "", **fields: Any) -> UUID:
    given = {"prompt": "x", "width": 64, "height": 64, "seed": 1, "lane": Lane.BULK, **fields}
    job_id = new_id()
    repository.add_job(job_id, RenderSpec(num_images=n, **given), tenant=tenant)
    return job_id


def do(repository: Repository, sql: str, **values: Any) -> None:
    repository.transact(lambda c: c.execute(text(sql), values))


def bulk(repository: Repository, name: str = "base.tiny.bulk") -> Queue:
    (queue,) = [queue for queue in repository.queues() if queue.name == name]
    return queue


def pick(repository: Repository, room: int, name: str = "base.tiny.bulk") -> Sequence[Pick]:
    """So many more than are out already."""
    queue = bulk(repository, name)
    out = repository.count_dispatched(queue)
    return repository.pick(queue, window_per_worker=out + room).picks


def places(repository: Repository, picks: Sequence[Pick]) -> list[tuple[UUID, int]]:
    found = text("SELECT id, job_id, ordinal FROM renders")
    rows = {
        row.id: (row.job_id, row.ordinal) for row in repository.transact(lambda c: c.execute(found).all())
    }
    return [rows[one.render_id] for one in picks]


def tenants_of(repository: Repository, picks: Sequence[Pick]) -> Counter[str]:
    found = text("SELECT r.id, j.tenant FROM renders r JOIN jobs j ON j.id = r.job_id")
    rows = {row.id: row.tenant for row in repository.transact(lambda c: c.execute(found).all())}
    return Counter(rows[one.render_id] for one in picks)


def test_one_who_comes_late_gets_all_until_both_have_as_much_on_the_way(repository: Repository) -> None:
    add(repository, 500, "early")
    pick(repository, 24)
    for _ in range(40):
        add(repository, 1, "late")
    assert tenants_of(repository, pick(repository, 20)) == {"late": 20}
    assert tenants_of(repository, pick(repository, 12)) == {"late": 8, "early": 4}
    assert repository.transact(
        lambda c: dict(c.execute(text("SELECT name, in_flight FROM tenants")).all())
    ) == {
        "early": 28,
        "late": 28,
    }


def test_jobs_of_a_tenant_take_turns_across_picks(repository: Repository) -> None:
    jobs = [add(repository, 10) for _ in range(3)]
    seen = [places(repository, pick(repository, 1))[0] for _ in range(6)]
    assert [job for job, _ in seen] == jobs * 2
    assert [ordinal for _, ordinal in seen] == [0, 0, 0, 1, 1, 1]


def test_a_render_that_comes_back_waits_for_its_time_and_then_goes_first(repository: Repository) -> None:
    job = add(repository, 50)
    do(repository, "UPDATE renders SET due_at = now() + interval '1 h' WHERE ordinal < 3")
    assert places(repository, pick(repository, 2)) == [(job, 3), (job, 4)]
    do(repository, "UPDATE renders SET due_at = now() WHERE ordinal < 3")
    assert places(repository, pick(repository, 4)) == [(job, 0), (job, 1), (job, 2), (job, 5)]


def test_jobs_in_back_off_hide_nothing_behind_them(repository: Repository) -> None:
    for _ in range(waiting.LEAST_LOOK + 4):
        add(repository, 1)
    do(repository, "UPDATE renders SET due_at = now() + interval '1 h'")
    last = add(repository, 2)
    assert [job for job, _ in places(repository, pick(repository, 5))] == [last, last]


def test_a_window_is_filled_from_as_many_jobs_as_it_takes(repository: Repository) -> None:
    for number in range(30):
        add(repository, 1, "ab"[number % 2])
    assert len(pick(repository, 25)) == 25
    assert len(pick(repository, 25)) == 5
    assert one(repository, "SELECT count(*) FROM jobs WHERE waits") == 0


def test_more_jobs_than_one_look_shows_fill_a_window_all_the_same(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_LOOK", 8)
    for _ in range(20):
        add(repository, 1)
    assert len(pick(repository, 20)) == 20


def test_a_counter_that_promises_too_much_leaves_no_room_unused(repository: Repository) -> None:
    """It counts what waits for the refiner, too."""
    wrong, right = add(repository, 2), add(repository, 30)
    do(repository, "UPDATE jobs SET queued = 100 WHERE id = :id", id=wrong)
    assert Counter(job for job, _ in places(repository, pick(repository, 20))) == {wrong: 2, right: 18}


@pytest.mark.parametrize(
    "how",
    [
        "UPDATE jobs SET paused_at = now() WHERE tenant = 'a'",
        "UPDATE jobs SET start_after = now() + interval '1 h' WHERE tenant = 'a'",
        "INSERT INTO tenants (name, paused_at) VALUES ('a', now())",
        "INSERT INTO tenants (name, max_in_flight) VALUES ('a', 0)",
    ],
)
def test_what_is_held_back_is_not_dispatched_and_keeps_nobody_else(repository: Repository, how: str) -> None:
    for _ in range(waiting.LEAST_LOOK + 1):
        add(repository, 5, "a", priority=10)
    do(repository, how)
    add(repository, 5, "b")
    assert tenants_of(repository, pick(repository, 20)) == {"b": 5}
    do(repository, "UPDATE jobs SET paused_at = NULL, start_after = now()")
    do(repository, "UPDATE tenants SET paused_at = NULL, max_in_flight = NULL")
    assert tenants_of(repository, pick(repository, 20)) == {"a": 20}


def test_a_tenant_has_no_more_in_flight_than_it_may(repository: Repository) -> None:
    do(repository, "INSERT INTO tenants (name, max_in_flight) VALUES ('a', 7)")
    add(repository, 50, "a")
    assert len(pick(repository, 5)) == 5
    assert len(pick(repository, 5)) == 2


@pytest.mark.parametrize(("column", "value"), [("paused_at", "now()"), ("max_in_flight", "3")])
def test_a_limit_holds_for_what_is_sent_at_once_too(repository: Repository, column: str, value: str) -> None:
    do(repository, f"INSERT INTO tenants (name, {column}) VALUES ('a', {value})")

    def stored(tenant: str) -> object:
        spec = RenderSpec(prompt="x", width=64, height=64, seed=1)
        return repository.add_job(new_id(), spec, tenant=tenant, window_per_worker=24)[0]

    assert isinstance(stored("b"), Picked)
    assert isinstance(stored("a"), int)


def finish_base(repository: Repository, worker: int, picks: Sequence[Pick]) -> None:
    pairs = [(one.render_id, one.fence) for one in picks]
    ref = ObjectRef("v1/x", b"\0" * 32, 7)
    claimed = repository.transact(lambda c: claiming.claim(c, worker, pairs))
    done = [Done(item.render_id, item.fence, ref, 4) for item in claimed]
    repository.transact(lambda c: finishing.hand_over(c, done))


def test_the_base_stage_waits_while_latents_pile_up(repository: Repository) -> None:
    worker = register(repository)
    add(repository, 200, refiner=RefinerSpec())
    # As large a window as latents may pile up for: 2 of 10 each.
    finish_base(repository, worker, repository.pick(bulk(repository), window_per_worker=10).picks)
    finish_base(repository, worker, repository.pick(bulk(repository), window_per_worker=10).picks)
    assert one(repository, "SELECT count(*) FROM renders WHERE state = 0 AND stage = 1") == 10 * PILE
    assert repository.pick(bulk(repository), window_per_worker=10).picks == ()
    alone = add(repository, 5)
    found = repository.pick(bulk(repository), window_per_worker=10).picks
    assert [job for job, _ in places(repository, found)] == [alone] * 5
    repository.pick(bulk(repository, "refine.tiny.bulk"), window_per_worker=3)
    assert len(repository.pick(bulk(repository), window_per_worker=10).picks) == 3


def test_without_a_refiner_base_goes_on_until_latents_are_too_many(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentfarm.fairness import limits

    worker = register(repository)
    add(repository, 200, refiner=RefinerSpec())
    finish_base(repository, worker, pick(repository, 60))
    do(repository, "UPDATE workers SET stages = '{0}'")
    assert LATENTS_MOST > 200
    monkeypatch.setattr(limits, "LATENTS_MOST", 64)
    assert len(pick(repository, 60)) == 4


# What dispatch goes by is put right


def test_a_job_without_a_model_or_with_a_wrong_count_has_its_turn_again(repository: Repository) -> None:
    nameless, forgotten = add(repository, 3), add(repository, 4)
    do(repository, "UPDATE jobs SET model = '' WHERE id = :id", id=nameless)
    do(repository, "UPDATE jobs SET queued = 0 WHERE id = :id", id=forgotten)
    assert pick(repository, 9) == ()
    assert repository.transact(mending.name_models) == 1
    assert repository.transact(lambda c: mending.count_again(c, mending.START)) == (1, mending.START)
    assert repository.transact(lambda c: mending.count_again(c, mending.START)) == (0, mending.START)
    assert len(pick(repository, 9)) == 7


def test_a_job_of_several_models_has_its_turn_in_each_queue(repository: Repository) -> None:
    job = add(repository, 6)
    add(repository, 1, model="other")
    other = bulk(repository, "base.other.bulk")
    do(
        repository,
        "UPDATE renders SET queue_id = :q WHERE job_id = :job AND ordinal > 3",
        q=other.id,
        job=job,
    )
    assert repository.transact(lambda c: mending.count_again(c, mending.START))[0] == 1
    assert len(pick(repository, 10)) == 4
    assert Counter(one for one, _ in places(repository, pick(repository, 10, "base.other.bulk")))[job] == 2


def test_shards_are_taken_of_jobs_of_any_model_whatever_limit_their_tenant_has(
    repository: Repository,
) -> None:
    do(repository, "INSERT INTO tenants (name, max_in_flight) VALUES ('a', 0)")
    made = "INSERT INTO queues (name, stage, model, lane) VALUES ('seal', 2, '', 'bulk') RETURNING id"
    queue = one(repository, made)
    jobs = [add(repository, 2, "a"), add(repository, 2, "b", model="other")]
    do(repository, "UPDATE renders SET queue_id = :q, stage = 2", q=queue)
    found = pick(repository, 10, "seal")
    assert Counter(job for job, _ in places(repository, found)) == dict.fromkeys(jobs, 2)


def test_room_for_latents_is_kept_over_several_looks(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_LOOK", 4)
    worker = register(repository)
    add(repository, 1, refiner=RefinerSpec())
    finish_base(repository, worker, pick(repository, 1))
    for _ in range(40):
        add(repository, 1, refiner=RefinerSpec())
    # The window of the refiner is as large as this one, and one waits for it.
    monkeypatch.setattr("latentfarm.fairness.limits.PILE", 1)
    assert len(repository.pick(bulk(repository), window_per_worker=30).picks) == 29
