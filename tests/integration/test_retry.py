"""Failed images of a job are tried again, exactly once, whoever asks at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client import Client
from latentfarm.errors import Conflict, Ended, ErrorClass
from latentfarm.repository import retaining
from tests.integration.refining import ENSEMBLE, accepted, by_index, problem, submit
from tests.integration.test_events import read

if TYPE_CHECKING:
    import httpx

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from tests.integration.serving import Puppet

STATES = "SELECT ordinal, state, stage, fence, tries, starts FROM renders WHERE job_id = :id ORDER BY ordinal"
JOB = "SELECT state, remaining, queued, failed, finished_at FROM jobs WHERE id = :id"


def rows(repository: Repository, statement: str, job: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in repository.transact(lambda c: c.execute(text(statement), {"id": job}))]


def change(repository: Repository, statement: str, job: str) -> None:
    repository.transact(lambda c: c.execute(text(statement), {"id": job}))


def half_failed(http: httpx.Client, puppet: Puppet) -> tuple[str, list[Claimed]]:
    """A job whose images 0 and 2 have failed, and what was claimed of it."""
    job = submit(http)
    claimed = by_index(puppet.claim())
    puppet.finish(claimed[1:2])
    puppet.fail([claimed[0], claimed[2]], ErrorClass.USER, "no")
    return job, claimed


def retry(http: httpx.Client, job: str) -> httpx.Response:
    return http.post(f"/v1/jobs/{job}/retry")


def test_failed_images_alone_are_tried_again_and_the_job_ends_once_more(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    job, claimed = half_failed(http, puppet)
    before = rows(repository, STATES, job)
    answer = retry(http, job)
    assert (answer.status_code, answer.json()["state"], answer.json()["remaining"]) == (200, "running", 2)
    after = rows(repository, STATES, job)
    assert after[1] == before[1]
    for was, now in ((before[0], after[0]), (before[2], after[2])):
        # Queued, in the base stage, under a higher fence, with all tries and starts before it.
        assert now == (was[0], 0, 0, was[3] + 1, 0, 0)
    assert rows(repository, JOB, job) == [("running", 2, 2, 0, None)]
    # Who holds them under the fence of before can end nothing.
    puppet.finish([claimed[0]])
    assert rows(repository, JOB, job)[0][1] == 2
    again = puppet.claim()
    assert sorted(item.ordinal for item in again) == [0, 2]
    puppet.finish(again)
    assert rows(repository, JOB, job)[0][:4] == ("succeeded", 0, 0, 0)
    told = [event.type for event in read(str(http.base_url).rstrip("/"), job)]
    assert told == [
        "job.running",
        "image.succeeded",
        "image.failed",
        "image.failed",
        "job.retrying",
        "image.succeeded",
        "image.succeeded",
        "job.succeeded",
    ]
    assert http.get(f"/v1/jobs/{job}/images/0", params={"proxy": 1}).status_code == 200


def test_an_image_whose_base_stage_was_done_begins_with_the_refiner_while_its_latents_are_kept(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    job = submit(http, num_images=2, refiner=ENSEMBLE)
    puppet.hand_over(puppet.claim())
    puppet.fail(puppet.claim(), ErrorClass.USER, "no")
    gone = "UPDATE objects SET state = 'going' WHERE kind = 'latents' AND render_id = (SELECT min(id) FROM renders)"
    repository.transact(lambda c: c.execute(text(gone)))
    assert retry(http, job).status_code == 200
    assert [(row[0], row[2]) for row in rows(repository, STATES, job)] == [(0, 0), (1, 1)]
    second = {item.ordinal: item.latents for item in puppet.claim()}
    assert second[0] is None
    assert second[1] is not None


def test_what_was_refined_from_latents_that_are_gone_is_not_tried_again(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    source = submit(http, refiner=ENSEMBLE)
    puppet.hand_over(puppet.claim())
    puppet.finish(puppet.claim())
    job = accepted(http, source)["id"]
    puppet.fail(puppet.claim(), ErrorClass.USER, "no")
    before = rows(repository, STATES, job)
    repository.transact(
        lambda c: c.execute(text("UPDATE objects SET state = 'going' WHERE kind = 'latents'"))
    )
    status, code, detail = problem(retry(http, job))
    assert (status, code) == (409, "latents_gone")
    assert "images 0, 1, 2" in detail
    assert rows(repository, STATES, job) == before


def test_a_picture_that_is_kept_no_longer_is_named(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    source = submit(http, num_images=1)
    puppet.finish(puppet.claim())
    job = accepted(http, source, source="image")["id"]
    puppet.fail(puppet.claim(), ErrorClass.INPUT, "no")
    repository.transact(lambda c: c.execute(text("UPDATE inputs SET stored_at = NULL")))
    assert problem(retry(http, job))[:2] == (409, "input_gone")
    repository.transact(lambda c: c.execute(text("UPDATE inputs SET stored_at = now()")))
    assert retry(http, job).status_code == 200


def test_where_nothing_can_be_tried_again_the_reason_is_told(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    well = submit(http)
    assert problem(retry(http, well))[:2] == (409, "not_ready")
    puppet.finish(puppet.claim())
    status, code, detail = problem(retry(http, well))
    assert (status, code) == (409, "ended")
    assert "no image has failed" in detail
    cancelled = submit(http)
    puppet.fail(puppet.claim()[:1], ErrorClass.USER, "no")
    http.post(f"/v1/jobs/{cancelled}/cancel")
    assert problem(retry(http, cancelled))[1:] == (
        "ended",
        f"job {cancelled} was cancelled; hand it in again",
    )
    job, _ = half_failed(http, puppet)
    due = "UPDATE jobs SET retain_days = 1, finished_at = now() - interval '2 days' WHERE id = :id"
    change(repository, due, job)
    assert repository.transact(lambda c: retaining.mark_due(c, limit=10)) == 1
    status, code, detail = problem(retry(http, job))
    assert (status, code) == (409, "ended")
    assert "are gone since" in detail
    assert retry(http, "0" * 8).status_code == 404


def test_of_many_who_ask_at_once_one_is_served(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    for _ in range(5):
        job, _ = half_failed(http, puppet)
        together = threading.Barrier(4)

        def ask(_: int, job: str = job, together: threading.Barrier = together) -> int:
            together.wait()
            return retry(http, job).status_code

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(ask, range(4))) == [200, 409, 409, 409]
        assert rows(repository, JOB, job) == [("running", 2, 2, 0, None)]
        puppet.finish(puppet.claim())
        assert rows(repository, JOB, job)[0][:4] == ("succeeded", 0, 0, 0)


def test_a_retry_that_races_retention_wins_or_loses_as_a_whole(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    for _ in range(5):
        job, _ = half_failed(http, puppet)
        due = "UPDATE jobs SET retain_days = 1, finished_at = now() - interval '2 days' WHERE id = :id"
        change(repository, due, job)
        together = threading.Barrier(2)

        def sweep(together: threading.Barrier = together) -> int:
            together.wait()
            return repository.transact(lambda c: retaining.mark_due(c, limit=10))

        def ask(job: str = job, together: threading.Barrier = together) -> int:
            together.wait()
            return retry(http, job).status_code

        with ThreadPoolExecutor(2) as pool:
            marked, asked = pool.submit(sweep), pool.submit(ask)
        gone = rows(repository, "SELECT results_gone_at IS NOT NULL, state FROM jobs WHERE id = :id", job)
        assert (marked.result(), asked.result(), gone) in (
            (1, 409, [(True, "failed")]),
            (0, 200, [(False, "running")]),
        )
        puppet.finish(puppet.claim())


def test_the_client_and_the_command_try_again(http: httpx.Client, puppet: Puppet) -> None:
    url = str(http.base_url)
    job, _ = half_failed(http, puppet)
    with Client(url) as client:
        assert client.retry(job).remaining == 2
        with pytest.raises(Conflict, match="at work"):
            client.retry(job)
        puppet.fail(puppet.claim(), ErrorClass.USER, "no")
        ran = CliRunner().invoke(app, ["jobs", "retry", job, "--api", url])
        assert (ran.exit_code, ran.stdout) == (0, f"{job}  running, 2 images are tried again\n")
        puppet.finish(puppet.claim())
        with pytest.raises(Ended, match="no image has failed"):
            client.retry(job)
