"""GPU-seconds are charged to tenants and lanes, once, and become deficits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.repository import charging, claiming, waiting
from latentfarm.states import Lane
from tests.integration.test_fair_dispatch import add, bulk, do, pick, tenants_of
from tests.integration.test_repository import one, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.records import Pick
    from latentfarm.repository.facade import Repository


def run(repository: Repository, worker: int, picks: Sequence[Pick]) -> None:
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
    assert len(repository.pick(bulk(repository, interactive), window_per_worker=24).picks) == 24
    do(repository, "UPDATE renders SET state = 0 WHERE state = 1")
    do(
        repository,
        "UPDATE jobs SET queued = (SELECT count(*) FROM renders WHERE job_id = jobs.id AND state = 0)",
    )
    do(repository, "UPDATE queues SET deficit_s = 100 WHERE lane = 'bulk'")
    assert len(repository.pick(bulk(repository, interactive), window_per_worker=24).picks) == 2


HELD_BACK = {
    "paused": "UPDATE jobs SET paused_at = now() WHERE tenant = 'b'",
    "to begin later": "UPDATE jobs SET start_after = now() + interval '1 h' WHERE tenant = 'b'",
    "cancelled half way": "UPDATE jobs SET cancelled_at = now() WHERE tenant = 'b'",
    "of a count that says none": "UPDATE jobs SET queued = 0 WHERE tenant = 'b'",
    "in back-off": "UPDATE renders SET due_at = now() + interval '1 h' WHERE state = 0 AND priority = 1",
    "of a paused tenant": "INSERT INTO tenants (name, paused_at) VALUES ('b', now())",
    "in a drained queue": "UPDATE queues SET drained_at = now() WHERE name = 'base.tiny.bulk'",
    "of a tenant at its limit": "INSERT INTO tenants (name, max_in_flight) VALUES ('b', 0)",
}


@pytest.mark.parametrize("how", HELD_BACK.values(), ids=HELD_BACK)
def test_what_cannot_be_served_is_owed_nothing(repository: Repository, how: str) -> None:
    worker, interactive = register(repository), "base.tiny.interactive"
    add(repository, 100, "a", lane=Lane.INTERACTIVE)
    add(repository, 10, "b", priority=1)
    run(repository, worker, pick(repository, 6, interactive))
    do(repository, "UPDATE queues SET deficit_s = 100 WHERE lane = 'bulk'")
    do(repository, how)
    charge(repository, 9.0)
    owed = "SELECT deficit_s FROM queues WHERE name = 'base.tiny.bulk'"
    assert one(repository, owed) == 0.0
    assert one(repository, "SELECT coalesce(sum(deficit_s), 0) FROM tenants WHERE name = 'b'") == 0.0
    repository.mark_ready(worker, {"capacity": 10})
    assert len(repository.pick(bulk(repository, interactive), window_per_worker=24).picks) == 24


@pytest.mark.parametrize("model", ["tiny", waiting.SEVERAL])
def test_what_can_be_served_is_owed_whatever_stands_beside_it(repository: Repository, model: str) -> None:
    worker = register(repository)
    add(repository, 6, "a", lane=Lane.INTERACTIVE)
    for held in range(3):
        add(repository, 10, "b", priority=held)
    do(repository, "UPDATE jobs SET paused_at = now() WHERE tenant = 'b' AND priority = 0")
    do(repository, "UPDATE jobs SET start_after = now() + interval '1 h' WHERE tenant = 'b' AND priority = 1")
    do(repository, "UPDATE jobs SET model = :model WHERE tenant = 'b'", model=model)
    run(repository, worker, pick(repository, 6, "base.tiny.interactive"))
    charge(repository, 9.0)
    owed = "SELECT deficit_s FROM queues WHERE name = 'base.tiny.bulk'"
    assert one(repository, owed) == pytest.approx(1.0, abs=0.2)
    assert one(repository, "SELECT deficit_s FROM tenants WHERE name = 'b'") == pytest.approx(4.5, abs=0.3)
