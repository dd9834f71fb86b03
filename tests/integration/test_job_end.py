"""The end of a job is exact, whoever races for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.repository import finishing
from tests.integration.test_repository import claim, done, register, submit

if TYPE_CHECKING:
    from latentfarm.records import Done
    from latentfarm.repository.facade import Repository

JOBS, IMAGES, COMMITTERS = 200, 4, 8


def race(repository: Repository, shares: list[list[Done]]) -> None:
    """Each committer ends its share in batches of 10, all at once."""
    barrier = threading.Barrier(len(shares))
    errors: list[BaseException] = []

    def commit(share: list[Done]) -> None:
        barrier.wait()
        try:
            for start in range(0, len(share), 10):
                batch = share[start : start + 10]
                repository.transact(lambda c, batch=batch: finishing.finish(c, batch))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001 - must reach the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=commit, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def one_round(repository: Repository) -> None:
    for _ in range(JOBS):
        submit(repository, IMAGES, refine=False)
    finished = done(claim(repository, register(repository)))
    assert len(finished) == JOBS * IMAGES
    # Dealt like cards, so that the images of every job are in different hands.
    race(repository, [finished[hand::COMMITTERS] for hand in range(COMMITTERS)])


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.long)])
def test_200_jobs_of_4_images_ended_by_8_racing_committers(repository: Repository, rounds: int) -> None:
    for _ in range(rounds):
        one_round(repository)
        with repository.engine.begin() as connection:
            still_open = "SELECT count(*) FROM jobs WHERE state <> 'succeeded' OR remaining <> 0"
            assert connection.execute(text(still_open)).scalar_one() == 0
            events = "SELECT count(*), count(DISTINCT job_id) FROM outbox WHERE type = 'job.succeeded'"
            count, distinct = connection.execute(text(events)).one()
            assert count == distinct == JOBS
            connection.execute(text("TRUNCATE renders, jobs, job_inputs, outbox, attempts, objects"))
