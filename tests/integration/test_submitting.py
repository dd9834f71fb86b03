"""Jobs that come in at the same time, as the first ones of their picture and of their queue."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.ids import new_id
from latentfarm.repository import accepting, submitting
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane
from tests.acceptance.farm import until

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository

SPEC = RenderSpec(prompt="a red circle", width=64, height=64, num_images=3, seed=1)
_STORED = text("""
    SELECT j.num_images, count(DISTINCT r.id), count(DISTINCT r.spec_id), count(DISTINCT r.queue_id), j.spec_id = min(r.spec_id)
    FROM jobs j JOIN renders r ON r.job_id = j.id WHERE j.id = :id GROUP BY j.id
""")
_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO jobs%'"
)


def asked(repository: Repository, statement: Any, **values: Any) -> Any:
    return repository.transact(lambda c: c.execute(statement, values).one())


def test_two_first_jobs_of_a_picture_share_it(repository: Repository) -> None:
    first, second = new_id(), new_id()
    with repository.engine.begin() as connection:
        accepting.store(connection, first, SPEC, tenant="")
        # Waits for the picture and the queue that nobody else can see yet.
        thread = threading.Thread(target=repository.add_job, args=(second, SPEC), kwargs={"tenant": ""})
        thread.start()
        until("it waits", lambda: asked(repository, _WAITING) == (1,))
    thread.join(20)
    assert [asked(repository, _STORED, id=job) for job in (first, second)] == 2 * [(3, 3, 1, 1, True)]
    assert asked(repository, text("SELECT count(*) FROM specs")) == (1,)


def test_a_lost_race_for_the_picture_alone_loses_no_queue(repository: Repository) -> None:
    job, other = new_id(), SPEC.model_copy(update={"lane": Lane.BULK})
    with repository.engine.begin() as connection:
        submitting.add_spec(connection, SPEC.picture())
        thread = threading.Thread(target=repository.add_job, args=(job, other), kwargs={"tenant": ""})
        thread.start()
        until("it waits", lambda: asked(repository, _WAITING) == (1,))
    thread.join(20)
    assert asked(repository, _STORED, id=job) == (3, 3, 1, 1, True)
