"""A cancel meets the commit that would have finished the render, many times: one of both wins, wholly."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.repository import finishing
from tests.integration.test_repository import claim, done, register, submit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Row

    from latentfarm.repository.facade import Repository

ROUNDS = 40

#: What was cancelled has no image that anybody sees; what has one succeeded.
ENDS = text("""
    SELECT r.state, count(o.key) AS shown, count(*) AS n FROM renders r
    LEFT JOIN objects o ON o.render_id = r.id AND o.kind = 'image' AND o.state = 'visible'
    WHERE r.job_id = :id GROUP BY r.state, o.key IS NULL
""")


def how_they_ended(repository: Repository, job_id: UUID) -> Sequence[Row[tuple[Any, ...]]]:
    return repository.transact(lambda c: c.execute(ENDS, {"id": job_id}).all())


def test_a_cancel_and_the_last_commit_never_both_win(repository: Repository) -> None:
    worker = register(repository)
    states = Counter[int]()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            job_id = submit(repository, 2, refine=False)
            claimed = claim(repository, worker)
            start = threading.Barrier(2)

            def finish(claimed=claimed, start=start) -> set[tuple[int, int]]:
                start.wait(30)
                return repository.transact(lambda c: finishing.finish(c, done(claimed)))

            def cancel(job_id=job_id, start=start) -> bool:
                start.wait(30)
                marked = repository.mark_cancelled(job_id, tenant="")
                repository.cancel_renders(job_id)
                return marked

            finished, marked = pool.submit(finish), pool.submit(cancel)
            accepted, stopped = finished.result(60), marked.result(60)
            ends = how_they_ended(repository, job_id)
            assert [(row.shown == row.n) for row in ends] == [row.state == 3 for row in ends]
            assert len(accepted) == sum(row.n for row in ends if row.state == 3)
            job = repository.get_job(job_id, tenant="")
            assert job is not None
            assert job.remaining == 0
            assert job.finished_at is not None
            assert (job.state == "cancelled") == stopped
            states.update({int(row.state): int(row.n) for row in ends})
    assert sum(states.values()) == 2 * ROUNDS
    assert set(states) <= {3, 5}


def test_nothing_is_shown_of_what_was_cancelled_before(repository: Repository) -> None:
    job_id = submit(repository, 2, refine=False)
    claimed = claim(repository, register(repository))
    repository.mark_cancelled(job_id, tenant="")
    repository.cancel_renders(job_id)
    assert repository.transact(lambda c: finishing.finish(c, done(claimed))) == set()
    shown = text("SELECT count(*) FROM objects WHERE state = 'visible'")
    assert repository.transact(lambda c: c.execute(shown).scalar_one()) == 0
