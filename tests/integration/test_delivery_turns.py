"""What is looked at first, when much is due: nobody's backlog hides the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.repository import delivering

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository

DUE = """
    INSERT INTO deliveries (id, tenant, webhook_id, job_id, event, type, format, target, facts, due_at, state)
    SELECT gen_random_uuid(), :tenant, gen_random_uuid(), gen_random_uuid(), 'job.failed', 'job.failed', 'native',
           'target ' || n % :targets, '{}', now() + make_interval(secs => CAST(:in_s AS float)), :state
    FROM generate_series(1, :count) AS n
"""


def add(
    repository: Repository, tenant: str, count: int, targets: int, *, in_s: float = -60.0, state: str = "due"
) -> None:
    values = {"tenant": tenant, "count": count, "targets": targets, "in_s": in_s, "state": state}
    repository.transact(lambda c: c.execute(text(DUE), values))


def test_a_receiver_with_a_backlog_hides_nobody(repository: Repository) -> None:
    add(repository, "greedy", 5_000, 1, in_s=-3600)
    add(repository, "modest", 1, 1)
    found = repository.transact(lambda c: delivering.waiting(c, each=4, limit=100))
    assert Counter(one.tenant for one in found) == {"greedy": 4, "modest": 1}


def test_a_tenant_with_many_receivers_takes_turns_with_the_others(repository: Repository) -> None:
    add(repository, "greedy", 3_000, 600, in_s=-3600)
    add(repository, "modest", 9, 3)
    found = repository.transact(lambda c: delivering.waiting(c, each=4, limit=12))
    assert Counter(one.tenant for one in found) == {"greedy": 9, "modest": 3}
    assert len({(one.tenant, one.target) for one in found}) == 12, (
        "each receiver once, before any of them twice"
    )


def test_what_is_not_due_yet_or_has_ended_is_not_found(repository: Repository) -> None:
    add(repository, "t", 3, 1, in_s=60)
    add(repository, "t", 3, 1, state="failed")
    assert repository.transact(lambda c: delivering.waiting(c, each=4, limit=12)) == []
    assert repository.transact(delivering.count_due) == (3, 0)
    add(repository, "t", 2, 2, in_s=-120)
    assert repository.transact(delivering.count_due) == (5, 2)
