"""What refining a job again refuses, and what ends badly: through a real API, with a puppet worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from tests.integration.pictures import count
from tests.integration.refining import AGAIN, ENSEMBLE, accepted, by_index, problem, refine, run, submit
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


@pytest.mark.parametrize(
    ("fields", "body", "field", "word"),
    [
        ({}, {"source": "latents"}, "source", "image"),
        ({"refiner": AGAIN}, {"indices": [0, 3]}, "indices", "0 to 2"),
        ({"refiner": AGAIN}, {"indices": [1, 1]}, "indices", "twice"),
        ({"refiner": AGAIN}, {"prompt": "b"}, "prompt", "source `image`"),
        ({"refiner": AGAIN}, {"negative_prompt": ""}, "negative_prompt", "source `image`"),
        ({"refiner": AGAIN}, {"reproducible": True}, "reproducible", "false"),
        ({"refiner": AGAIN}, {"refiner": {"mode": "ensemble"}}, "refiner.mode", "mode `image`"),
        ({"refiner": AGAIN}, {"refiner": {"high_noise_frac": 0.5}}, "refiner.high_noise_frac", "ensemble"),
        ({"refiner": AGAIN}, {"refiner": {"strength": 0.0}}, "refiner.strength", "no step"),
        ({"refiner": ENSEMBLE}, {"refiner": {"mode": "image"}}, "refiner.mode", "ensemble, or source"),
        ({"refiner": ENSEMBLE}, {"refiner": {"strength": 0.5}}, "refiner.strength", "source `image`"),
        ({"refiner": ENSEMBLE}, {"refiner": {"high_noise_frac": 0.8}}, "refiner.high_noise_frac", "0.6"),
        (
            {"refiner": ENSEMBLE},
            {"refiner": {"num_inference_steps": 30}},
            "refiner.num_inference_steps",
            "20",
        ),
        ({"refiner": ENSEMBLE}, {"source": "image", "refiner": {"mode": "ensemble"}}, "refiner.mode", "only"),
        ({}, {"refiner": {"strength": 0.01}}, "refiner.strength", "no step"),
        ({}, {"output": {"format": "png", "quality": 5}}, "output.quality", "leave it out"),
    ],
)
def test_what_cannot_be_refined_is_refused_by_name_and_leaves_nothing(
    http: httpx.Client,
    puppet: Puppet,
    repository: Repository,
    fields: dict[str, Any],
    body: dict[str, Any],
    field: str,
    word: str,
) -> None:
    job = submit(http, **fields)
    if "refiner" in fields:
        run(puppet)
    else:
        puppet.finish(puppet.claim())
    before = [count(repository, table) for table in ("jobs", "specs", "renders", "inputs")]
    answer = refine(http, job, key="k", **body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert word in answer.text
    assert [count(repository, table) for table in ("jobs", "specs", "renders", "inputs")] == before
    assert count(repository, "render_sources") == count(repository, "idempotency") == 0


def test_what_is_not_there_is_told_of_by_index(http: httpx.Client, puppet: Puppet) -> None:
    job = submit(http, refiner=AGAIN, num_images=4)
    for source in ("latents", "image"):
        answer = refine(http, job, source=source)
        assert problem(answer)[:2] == (409, "not_ready")
        assert answer.headers["retry-after"] == "1"
    base = by_index(puppet.claim())
    puppet.fail(base[:1], ErrorClass.USER, "no")
    puppet.hand_over(base[1:])
    puppet.fail(by_index(puppet.claim())[:1], ErrorClass.USER, "no")
    assert problem(refine(http, job))[:2] == (409, "latents_gone")
    assert "image 0 of job" in problem(refine(http, job))[2]
    assert problem(refine(http, job, source="image"))[:2] == (409, "image_gone")
    assert "images 0, 1 of job" in problem(refine(http, job, source="image"))[2]
    assert problem(refine(http, job, source="image", indices=[2]))[:2] == (409, "not_ready")
    # Before the job has ended, and where the refiner failed: what the base left is there.
    assert accepted(http, job, indices=[3, 1])["num_images"] == 2


def test_a_cancelled_job_can_be_refined_from_what_it_has_left(http: httpx.Client, puppet: Puppet) -> None:
    job = submit(http, refiner=AGAIN)
    base = by_index(puppet.claim())
    puppet.hand_over(base[:2])
    puppet.finish(by_index(puppet.claim())[:1])
    http.post(f"/v1/jobs/{job}/cancel")
    assert problem(refine(http, job))[:2] == (409, "latents_gone")
    assert accepted(http, job, indices=[0, 1])["num_images"] == 2
    assert accepted(http, job, source="image", indices=[0])["num_images"] == 1


def test_the_same_key_and_body_replay_the_answer_also_when_the_latents_are_gone(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    job = submit(http, refiner=AGAIN)
    run(puppet)
    first = refine(http, job, key="k", refiner={"strength": 0.9})
    repository.transact(lambda c: c.execute(text("DELETE FROM objects WHERE kind = 'latents'")))
    again = refine(http, job, key="k", refiner={"strength": 0.9})
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    other = refine(http, job, key="k", refiner={"strength": 0.8})
    assert other.json()["errors"][0]["code"] == "idempotency_mismatch"
    named = refine(http, job, key="k", refiner={"strength": 0.9, "aesthetic_score": 6.0})
    assert named.status_code == 422, "6.0 is the default, and may not be what the job had"
    plain = http.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    assert plain.json()["errors"][0]["code"] == "idempotency_mismatch"
    assert problem(refine(http, job))[:2] == (409, "latents_gone")
    assert count(repository, "jobs") == 2


def test_another_tenant_has_no_such_job(http: httpx.Client, repository: Repository) -> None:
    job_id = new_id()
    spec = RenderSpec(prompt="secret", width=64, height=64, seed=1)
    repository.add_job(job_id, spec, tenant="somebody")
    assert problem(refine(http, str(job_id)))[:2] == (404, "not_found")
    assert problem(refine(http, str(new_id())))[:2] == (404, "not_found")
    assert problem(refine(http, "nope"))[:2] == (404, "not_found")


def test_ruined_latents_fail_the_render_and_never_start_a_base(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    job = submit(http, refiner=AGAIN, num_images=1)
    run(puppet)
    new = accepted(http, job)
    for _ in range(3):
        (claimed,) = puppet.claim()
        assert claimed.stage is Stage.REFINE
        puppet.fail([claimed], ErrorClass.LATENTS, "are not what was stored")
        repository.transact(lambda c: c.execute(text("UPDATE renders SET due_at = now()")))
    ended = http.get(new["url"]).json()
    assert (ended["state"], ended["images"][0]["error"]) == ("failed", "latents: are not what was stored")
