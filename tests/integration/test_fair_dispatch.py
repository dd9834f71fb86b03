"""Dispatch by tenants and jobs in real SQL: shares, order, back-offs, caps, pauses, charges."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.fairness.limits import LATENTS_MOST, PILE
from latentfarm.ids import new_id
from latentfarm.records import Done, ObjectRef, Picked, Queue
from latentfarm.repository import charging, claiming, dispatching, finishing, mending, waiting
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane
from tests.integration.test_repository import one, register

if TYPE_CHECKING:
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


def pick(repository: Repository, room: int, name: str = "base.tiny.bulk") -> list[Pick]:
    """So many more than are out already."""
    queue = bulk(repository, name)
    out = repository.count_dispatched(queue)
    return repository.pick(queue, window_per_worker=out + room)[0]


def places(repository: Repository, picks: list[Pick]) -> list[tuple[UUID, int]]:
    found = text("SELECT id, job_id, ordinal FROM renders")
    rows = {
        row.id: (row.job_id, row.ordinal) for row in repository.transact(lambda c: c.execute(found).all())
    }
    return [rows[one.render_id] for one in picks]


def tenants_of(repository: Repository, picks: list[Pick]) -> Counter[str]:
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


def finish_base(repository: Repository, worker: int, picks: list[Pick]) -> None:
    pairs = [(one.render_id, one.fence) for one in picks]
    ref = ObjectRef("v1/x", b"\0" * 32, 7)
    claimed = repository.transact(lambda c: claiming.claim(c, worker, pairs))
    done = [Done(item.render_id, item.fence, ref, 4) for item in claimed]
    repository.transact(lambda c: finishing.hand_over(c, done))


def test_the_base_stage_waits_while_latents_pile_up(repository: Repository) -> None:
    worker = register(repository)
    add(repository, 200, refiner=RefinerSpec())
    # As large a window as latents may pile up for: 2 of 10 each.
    finish_base(repository, worker, repository.pick(bulk(repository), window_per_worker=10)[0])
    finish_base(repository, worker, repository.pick(bulk(repository), window_per_worker=10)[0])
    assert one(repository, "SELECT count(*) FROM renders WHERE state = 0 AND stage = 1") == 10 * PILE
    assert repository.pick(bulk(repository), window_per_worker=10)[0] == []
    alone = add(repository, 5)
    found = repository.pick(bulk(repository), window_per_worker=10)[0]
    assert [job for job, _ in places(repository, found)] == [alone] * 5
    repository.pick(bulk(repository, "refine.tiny.bulk"), window_per_worker=3)
    assert len(repository.pick(bulk(repository), window_per_worker=10)[0]) == 3


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


# Charges


def run(repository: Repository, worker: int, picks: list[Pick]) -> None:
    pairs = [(one.render_id, one.fence) for one in picks]
    repository.transact(lambda c: claiming.claim(c, worker, pairs))


def charge(repository: Repository, seconds: float) -> float:
    """After so many."""
    back = "UPDATE meters SET read_at = now() - make_interval(secs => :s)"
    repository.transact(charging.charge)

    def work(connection: Any) -> float:
        connection.execute(text(back), {"s": seconds})
        return charging.charge(connection)

    return repository.transact(work)


def test_a_second_of_a_worker_is_shared_by_pixels_and_charged_once(repository: Repository) -> None:
    add(repository, 1, "small")
    add(repository, 1, "large", width=128, height=128)
    first, second = register(repository), register(repository)
    run(repository, first, pick(repository, 10))
    add(repository, 1, "alone")
    run(repository, second, pick(repository, 10))
    repository.transact(charging.charge)  # begins to count
    assert charge(repository, 5.0) == pytest.approx(10.0)
    used: dict[str, float] = repository.transact(
        lambda c: dict(c.execute(text("SELECT name, used_s FROM tenants")).all())
    )
    assert used == pytest.approx({"small": 1.0, "large": 4.0, "alone": 5.0}, abs=0.2)
    assert charge(repository, 0.0) == 0.0


def test_what_nobody_counted_for_long_is_charged_in_part(repository: Repository) -> None:
    add(repository, 1, "a")
    run(repository, register(repository), pick(repository, 1))
    assert charge(repository, 3600.0) == pytest.approx(charging.LONGEST_S)


def test_charges_become_debts_of_who_had_more(repository: Repository) -> None:
    add(repository, 50, "a")
    add(repository, 50, "b")
    worker = register(repository)
    run(repository, worker, [one for one in pick(repository, 8) if tenants_of(repository, [one])["a"]])
    charge(repository, 8.0)
    owed: dict[str, float] = repository.transact(
        lambda c: dict(c.execute(text("SELECT name, deficit_s FROM tenants")).all())
    )
    assert owed == pytest.approx({"a": -4.0, "b": 4.0}, abs=0.3)
    row = "SELECT recent_s / recent_starts FROM tenants WHERE name = 'a'"
    assert one(repository, row) == pytest.approx(2.0, abs=0.2)
    assert one(repository, "SELECT in_flight FROM tenants WHERE name = 'b'") == 4


def test_bulk_that_was_kept_waiting_is_left_a_place(repository: Repository) -> None:
    worker = register(repository)
    add(repository, 40)
    add(repository, 100, lane=Lane.INTERACTIVE)
    interactive = "base.tiny.interactive"
    run(repository, worker, pick(repository, 6, interactive))
    repository.mark_ready(worker, {"capacity": 10})
    charge(repository, 9.0)
    owed = "SELECT deficit_s FROM queues WHERE name = 'base.tiny.bulk'"
    assert one(repository, owed) == pytest.approx(1.0, abs=0.2)
    assert len(repository.pick(bulk(repository, interactive), window_per_worker=24)[0]) == 24
    do(repository, "UPDATE renders SET state = 0 WHERE state = 1")
    do(
        repository,
        "UPDATE jobs SET queued = (SELECT count(*) FROM renders WHERE job_id = jobs.id AND state = 0)",
    )
    do(repository, "UPDATE queues SET deficit_s = 100 WHERE lane = 'bulk'")
    assert len(repository.pick(bulk(repository, interactive), window_per_worker=24)[0]) == 2


# What dispatch goes by is put right


def test_a_job_without_a_model_or_with_a_wrong_count_has_its_turn_again(repository: Repository) -> None:
    nameless, forgotten = add(repository, 3), add(repository, 4)
    do(repository, "UPDATE jobs SET model = '' WHERE id = :id", id=nameless)
    do(repository, "UPDATE jobs SET queued = 0 WHERE id = :id", id=forgotten)
    assert pick(repository, 9) == []
    assert repository.transact(mending.name_models) == 1
    assert repository.transact(lambda c: mending.count_again(c, mending.START)) == (1, mending.START)
    assert repository.transact(lambda c: mending.count_again(c, mending.START)) == (0, mending.START)
    assert len(pick(repository, 9)) == 7


# Cost


FILL = text("""
    WITH made AS (
        INSERT INTO jobs (id, tenant, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued,
                          keep_latents, model)
        SELECT gen_random_uuid(), 't' || (i % 4), 'single', (SELECT min(id) FROM specs), 'bulk', 0, 'queued', 1,
               :each, :each, :each, 0, 'tiny' FROM generate_series(1, :jobs) AS i RETURNING id)
    INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage)
    SELECT made.id, (SELECT min(id) FROM specs), 1, o, :queue, 0 FROM made, generate_series(0, :each - 1) AS o
""")


def touched(plan: dict[str, Any]) -> float:
    """Rows that all nodes of a plan have looked at."""
    own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    return float(own) + sum(touched(part) for part in plan.get("Plans", []))


@pytest.mark.parametrize(("jobs", "each"), [(4, 10_000), (4_000, 10)])
def test_no_plan_reads_the_backlog(repository: Repository, jobs: int, each: int) -> None:
    add(repository, 1)
    queue = bulk(repository)
    do(repository, FILL.text, jobs=jobs, each=each, queue=queue.id)
    do(repository, "ANALYZE")
    place = {"queue": queue.id, "model": "tiny", "lane": "bulk"}
    some = repository.transact(lambda c: list(c.execute(text("SELECT id FROM jobs LIMIT 3")).scalars()))

    def plan(sql: str, **values: Any) -> tuple[float, str]:
        asked = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        wanted = {name: values[name] for name in asked.compile().params}
        found = repository.transact(lambda c: c.execute(asked, wanted).scalar_one())
        whole = json.loads(found) if isinstance(found, str) else found
        return touched(whole[0]["Plan"]), json.dumps(whole)

    def cost() -> tuple[float, float]:
        seen, told = plan(waiting._VIEW.text, **place, look=24)
        assert jobs < 100 or "ix_jobs_waiting" in told
        assert "ix_renders_waiting" in told
        taken, told = plan(dispatching._TAKE.text, **place, jobs=some, counts=[8, 8, 8], dispatched=1)
        assert "ix_renders_waiting" in told
        return seen, taken

    seen, taken = cost()
    assert seen < 2_500
    assert taken < 1_000
    # All but the last are through. The planner has not been told, and would take it for granted that none is.
    do(repository, "UPDATE renders SET state = 3 WHERE ordinal < :last", last=each - 2)
    do(repository, "UPDATE jobs SET queued = LEAST(queued, 2)")
    seen, taken = cost()
    assert seen < 2_500
    assert taken < 1_000
