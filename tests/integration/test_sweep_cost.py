"""What the sweep of latents costs does not grow with the jobs that have ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.repository import sources
from tests.integration.test_repository import submit

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository

#: Jobs of one render each, ended over the last month, of which a few may still have latents.
ENDED = text("""
    WITH old AS (
        INSERT INTO jobs (id, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued, keep_latents,
                          finished_at, latents_kept)
        SELECT gen_random_uuid(), 'single', (SELECT min(id) FROM specs), 'bulk', 0, 'succeeded', 1, 1, 0, 0, 3600,
               now() - i * interval '12 s', i % 20000 = 1000 FROM generate_series(1, :jobs) AS i
        RETURNING id, latents_kept),
    made AS (
        INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage, state, fence)
        SELECT id, 1, 1, 0, 1, 1, 3, 2 FROM old RETURNING id, job_id)
    INSERT INTO objects (render_id, fence, kind, state, key)
    SELECT m.id, 1, 'latents', 'visible', 'v1/latents/' || m.id FROM made m JOIN old o ON o.id = m.job_id
    WHERE o.latents_kept
""")


def read(plan: dict[str, Any]) -> float:
    """Rows that all nodes of a plan have looked at."""
    own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    return float(own) + sum(read(part) for part in plan.get("Plans", []))


@pytest.mark.parametrize("jobs", [40_000, pytest.param(200_000, marks=pytest.mark.long)])
def test_only_jobs_that_may_have_latents_are_read(repository: Repository, jobs: int) -> None:
    submit(repository)
    repository.transact(lambda c: c.execute(ENDED, {"jobs": jobs}))
    repository.transact(lambda c: c.execute(text("ANALYZE")))
    due = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {sources._DUE.text}")
    found = repository.transact(lambda c: c.execute(due, {"limit": 500}).scalar_one())
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    assert "ix_jobs_latents_due" in json.dumps(plan)
    few = jobs // 20_000
    assert read(plan) <= 3 * few
    assert repository.transact(lambda c: sources.retire_latents(c, jobs=500, limit=500)) == few
    assert repository.transact(lambda c: sources.retire_latents(c, jobs=500, limit=500)) == 0
    left = text("SELECT count(*) FROM jobs WHERE latents_kept AND finished_at IS NOT NULL")
    assert repository.transact(lambda c: c.execute(left).scalar_one()) == 0
