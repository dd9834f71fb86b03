"""What dispatch reads grows neither with the backlog nor with what has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.repository import dispatching, position, waiting, wanting
from tests.integration.test_fair_dispatch import add, bulk, do

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository

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
        wanted, told = plan(wanting._WANTING.text, jobs=wanting.JOBS)
        assert "ix_renders_waiting" in told
        assert wanted < 200
        seen, told = plan(waiting._VIEW.text, **place, look=24, least=8)
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


PLACED = text("""
    SELECT j.id, j.created_at, 0 AS rung FROM jobs j WHERE j.tenant = 't1' ORDER BY j.created_at DESC LIMIT 1
""")


@pytest.mark.parametrize(("jobs", "each"), [(1_000, 100), (1_000, 1)])
def test_where_a_job_stands_is_read_from_jobs_alone(repository: Repository, jobs: int, each: int) -> None:
    add(repository, 1)
    queue = bulk(repository)
    do(repository, FILL.text, jobs=jobs, each=each, queue=queue.id)
    do(repository, "ANALYZE")
    me = repository.transact(lambda c: c.execute(PLACED).one())
    own = {"rung": me.rung, "served_at": me.created_at, "n": each, "most": position.MOST_JOBS}
    values = {"id": me.id, "model": "tiny", "stage": 0, "lane": "bulk", "queue": queue.id, **own}

    def looked_at(sql: str) -> float:
        explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        wanted = {name: values[name] for name in explained.compile().params}
        found = repository.transact(lambda c: c.execute(explained, wanted).scalar_one())
        return touched((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])

    parts = (position._ME, position._BESIDE, position._SENT, position._FIRST_LANE)
    assert sum(looked_at(part.text) for part in parts) < 4 * jobs
