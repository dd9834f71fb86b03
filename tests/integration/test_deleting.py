"""Jobs that are thrown away: what lives ends, what was made goes, what was written is hidden, the record stays."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.errors import ErrorClass
from scheduler.duties import Duties
from tests.integration.refining import ENSEMBLE, accepted, problem, refine, run, submit
from tests.integration.serving import Puppet, serve
from tests.integration.test_events import read
from tests.integration.verifying import own_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

JOB = "SELECT state, remaining, queued, finished_at IS NOT NULL FROM jobs WHERE id = :id"
OBJECTS = "SELECT count(*) FROM objects o JOIN renders r ON r.id = o.render_id WHERE r.job_id = :id"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return own_bucket(settings)


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


@pytest.fixture
def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    brief = settings.model_copy(update={"input_keep_days": 0.0, "collect_after_s": 0.0})
    return Duties(repository, broker, store, brief)


def one(repository: Repository, statement: str, job: str) -> tuple[Any, ...]:
    return tuple(repository.transact(lambda c: c.execute(text(statement), {"id": job})).one())


def delete(http: httpx.Client, job: str) -> int:
    return http.delete(f"/v1/jobs/{job}").status_code


def sweep(duties: Duties, *more: str) -> None:
    for _ in range(4):
        for name in ("finish_cancels", "drop_results", "drop_latents", *more, "collect"):
            duties.repository.transact(getattr(duties, name))


def test_what_was_made_goes_and_the_record_stays_without_what_was_written(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository, duties: Duties
) -> None:
    written = {"prompt": "a secret", "negative_prompt": "another one", "metadata": {"for": "whom"}}
    body = {"num_images": 2, "refiner": ENSEMBLE, **written}
    job = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"}).json()["id"]
    run(puppet)
    kept = submit(http, num_images=1)
    puppet.finish(puppet.claim())
    assert one(repository, OBJECTS, job) == (4,)
    assert [delete(http, job) for _ in range(2)] == [204, 204]
    shown = http.get(f"/v1/jobs/{job}")
    assert shown.status_code == 200
    assert "a secret" not in shown.text + http.get("/v1/jobs").text
    found = shown.json()
    assert (found["state"], found["metadata"], found["spec"]["prompt"]) == ("succeeded", {}, "")
    assert found["spec"]["negative_prompt"] == ""
    assert found["deleted_at"]
    assert found["deleted_at"] == found["gone_at"]
    assert [entry["id"] for entry in http.get("/v1/jobs").json()["data"]] == [kept]
    assert problem(http.get(f"/v1/jobs/{job}/images/0"))[:2] == (410, "gone")
    sweep(duties)
    assert one(repository, OBJECTS, job) == (0,)
    assert len(list(store.list_keys("v1/"))) == 1
    assert http.get(f"/v1/jobs/{kept}/images/0", params={"proxy": 1}).status_code == 200
    # Its key is still known, and makes no second job.
    again = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, "was removed" in again.text) == (404, True)
    assert problem(refine(http, job, source="latents"))[:2] == (404, "not_found")
    assert problem(http.post(f"/v1/jobs/{job}/retry"))[:2] == (409, "ended")


def test_what_is_at_work_is_cancelled_and_leaves_nothing(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository, duties: Duties
) -> None:
    job = submit(http)
    claimed = puppet.claim()
    puppet.finish(claimed[:1])
    assert delete(http, job) == 204
    assert one(repository, JOB, job) == ("cancelled", 0, 0, True)
    # The worker comes too late with another one.
    puppet.finish(claimed[1:2])
    puppet.fail(claimed[2:], ErrorClass.USER, "no")
    assert [event.type for event in read(str(http.base_url).rstrip("/"), job)][-1] == "job.cancelled"
    sweep(duties)
    assert list(store.list_keys("v1/")) == []
    assert one(repository, OBJECTS, job) == (0,)


def test_an_api_that_dies_between_the_two_commits_leaves_the_rest_to_the_sweeps(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository, duties: Duties
) -> None:
    job = submit(http)
    claimed = puppet.claim()
    repository.mark_deleted(UUID(job), tenant="")
    # Nothing is cleared before the job has ended: what became visible afterwards would stay.
    sweep(duties)
    puppet.finish(claimed[:1])
    late = "UPDATE jobs SET cancelled_at = now() - interval '3 s' WHERE id = :id"
    repository.transact(lambda c: c.execute(text(late), {"id": job}))
    sweep(duties)
    assert one(repository, JOB, job) == ("cancelled", 0, 0, True)
    assert list(store.list_keys("v1/")) == []


def test_a_job_that_was_made_from_it_keeps_what_it_needs(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository, duties: Duties
) -> None:
    source = submit(http, refiner=ENSEMBLE, num_images=1)
    run(puppet)
    by_latents = accepted(http, source)["id"]
    by_image = accepted(http, source, source="image")["id"]
    assert delete(http, source) == 204
    sweep(duties)
    claimed = puppet.claim()
    assert {str(item.job_id) for item in claimed} == {by_latents, by_image}
    for item in claimed:
        ref = item.latents or next(iter(item.inputs.values()))
        assert store.get(ref)
    puppet.finish(claimed)
    for job in (by_latents, by_image):
        assert delete(http, job) == 204
    sweep(duties, "drop_inputs", "drop_inputs")
    sweep(duties)
    assert list(store.list_keys("v1/")) == []


def test_a_delete_that_races_the_end_and_a_retry_leaves_one_end_and_no_object(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository, duties: Duties
) -> None:
    for turn in range(6):
        job = submit(http)
        claimed = puppet.claim()
        puppet.fail(claimed[:1], ErrorClass.USER, "no")
        if turn % 2:
            puppet.finish(claimed[1:])
        together = threading.Barrier(2)

        def other(turn: int = turn, job: str = job, together: threading.Barrier = together) -> int:
            together.wait()
            if turn % 2:
                return http.post(f"/v1/jobs/{job}/retry").status_code
            puppet.finish(claimed[1:])  # noqa: B023 - ended before the next turn
            return 200

        def throw(job: str = job, together: threading.Barrier = together) -> int:
            together.wait()
            return delete(http, job)

        with ThreadPoolExecutor(2) as pool:
            thrown, done = pool.submit(throw), pool.submit(other)
        assert (thrown.result(), done.result() in (200, 409)) == (204, True)
        state, remaining, queued, finished = one(repository, JOB, job)
        assert (remaining, queued, finished) == (0, 0, True)
        ends = [event.type for event in read(str(http.base_url).rstrip("/"), job) if event.is_final]
        assert ends == [f"job.{state}"]
    sweep(duties)
    assert list(store.list_keys("v1/")) == []


def test_the_command_deletes_and_others_jobs_and_datasets_are_left_alone(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    job = submit(http)
    elsewhere = httpx.delete(f"{http.base_url}/v1/jobs/{job}", headers={"X-Latentfarm-Tenant": "other"})
    assert elsewhere.status_code == 404
    assert one(repository, JOB, job)[0] == "queued"
    ran = CliRunner().invoke(app, ["jobs", "delete", job, "--api", str(http.base_url)])
    assert (ran.exit_code, ran.stdout) == (0, f"{job}  deleted\n")
    assert one(repository, JOB, job)[0] == "cancelled"
    other = submit(http)
    repository.transact(
        lambda c: c.execute(text("UPDATE jobs SET kind = 'dataset' WHERE id = :id"), {"id": other})
    )
    assert problem(http.delete(f"/v1/jobs/{other}"))[:2] == (422, "not_supported")
    assert delete(http, "nonsense") == 404
