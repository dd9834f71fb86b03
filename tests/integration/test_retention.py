"""Images go when they were kept for as long as was asked, and the records stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from latentfarm.errors import SourceGone
from latentfarm.ids import new_id
from latentfarm.records import Refinement
from latentfarm.repository import auditing, refining, retaining
from latentfarm.spec import RefinerSpec, RenderSpec
from scheduler.duties import Duties
from tests.integration.pictures import count
from tests.integration.serving import Puppet, serve
from tests.integration.test_sweep_cost import read

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SPEC = RenderSpec(prompt="a", seed=1, num_images=2, width=64, height=64, retain_days=2)

#: Jobs that ended over the last months: of a thousand one was to be kept for a day, the others for ever.
ENDED = text("""
    INSERT INTO jobs (id, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued, keep_latents,
                      finished_at, latents_kept, retain_days)
    SELECT gen_random_uuid(), 'single', (SELECT min(id) FROM specs), 'bulk', 0, 'succeeded', 1, 1, 0, 0, 0,
           now() - interval '2 days' - i * interval '12 s', false, CASE WHEN i % 1000 = 0 THEN 1 END
    FROM generate_series(1, :jobs) AS i
""")


@pytest.fixture(autouse=True)
def _empty_bucket(store: S3Store) -> None:
    """Ids of renders begin anew with each test's database, and the bucket is shared."""
    store.delete(list(store.list_keys("v1/images/")))


@pytest.fixture
def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    brief = settings.model_copy(update={"input_keep_days": 0.0, "collect_after_s": 0.0})
    return Duties(repository, broker, store, brief)


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def run(repository: Repository, puppet: Puppet, **fields: Any) -> UUID:
    """A job that has ended."""
    job_id = new_id()
    repository.add_job(job_id, SPEC.model_copy(update=fields), tenant="")
    puppet.finish(puppet.claim())
    return job_id


def age(repository: Repository, hours: int) -> None:
    values = {"hours": hours}
    aged = text("UPDATE jobs SET finished_at = finished_at - make_interval(hours => :hours)")
    repository.transact(lambda c: c.execute(aged, values))


def sweep(duties: Duties, times: int = 3) -> str:
    """Marks jobs, then their images, then deletes these."""
    work = (duties.drop_results, duties.collect)
    return ", ".join(filter(None, (duties.repository.transact(one) for _ in range(times) for one in work)))


def keys(store: S3Store) -> int:
    return len(list(store.list_keys("v1/images/")))


def test_images_go_after_their_term_and_not_before(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    job_id = run(repository, puppet)
    kept = run(repository, puppet, retain_days=None)
    age(repository, 47)
    assert sweep(duties) == ""
    age(repository, 2)
    assert sweep(duties, 1) == "retired 1 jobs"
    assert keys(store) == 4
    assert sweep(duties, 1) == "marked 2 images, deleted 2 objects"
    assert keys(store) == 2
    assert sweep(duties) == ""
    job = repository.get_job(job_id, tenant="")
    assert job is not None
    assert (job.state, job.gone_at is not None, job.num_images) == ("succeeded", True, 2)
    still = repository.get_job(kept, tenant="")
    assert still is not None
    assert still.gone_at is None
    assert count(repository, "renders") == count(repository, "attempts") == 4
    assert count(repository, "objects") == 2


def test_a_sweep_that_dies_leaves_nothing_that_somebody_is_led_to(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    job_id = run(repository, puppet)
    age(repository, 49)
    repository.transact(duties.drop_results)
    repository.transact(duties.drop_results)
    with repository.engine.connect() as dying:
        assert duties.collect(dying) == "deleted 2 objects"
        dying.rollback()
    found = repository.image(job_id, tenant="", index=0)
    assert found is not None
    assert found.ref is None
    assert sweep(duties) == "deleted 2 objects"
    assert count(repository, "objects") == 0


def test_a_gone_image_is_told_of(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties, settings: Settings
) -> None:
    job_id = run(repository, puppet)
    age(repository, 24)
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        shown = http.get(f"/v1/jobs/{job_id}").json()
        assert shown["spec"]["retain_days"] == 2
        assert shown["gone_at"] is None
        assert shown["expires_at"] > shown["finished_at"]
        assert http.get(f"/v1/jobs/{job_id}/images/0").status_code == 307
        age(repository, 25)
        repository.transact(duties.drop_results)
        # From the mark on, and not only once the bytes are gone.
        answer = http.get(f"/v1/jobs/{job_id}/images/0")
        assert answer.status_code == 410
        assert answer.json()["type"] == "urn:latentfarm:problem:gone"
        assert "are gone since 20" in answer.json()["detail"]
        sweep(duties)
        shown = http.get(f"/v1/jobs/{job_id}").json()
        assert (shown["state"], shown["counts"]["succeeded"]) == ("succeeded", 2)
        assert shown["gone_at"] is not None
        again = http.post(f"/v1/jobs/{job_id}/refine", json={"source": "image"})
        assert (again.status_code, again.json()["type"]) == (409, "urn:latentfarm:problem:image_gone")
    assert repository.transact(lambda c: auditing.stored(c, job_id, first=0, limit=10)) == []


def test_the_farms_term_counts_for_what_does_not_say(settings: Settings, repository: Repository) -> None:
    term = settings.model_copy(update={"retain_days": 7.5})
    with serve(term) as url, httpx.Client(base_url=url, timeout=60) as http:
        said = http.post("/v1/jobs", json={"prompt": "a", "retain_days": 0.5}).json()
        silent = http.post("/v1/jobs", json={"prompt": "a"}).json()
        assert [one["spec"]["retain_days"] for one in (said, silent)] == [0.5, 7.5]
        refused = http.post("/v1/jobs", json={"prompt": "a", "retain_days": 0})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "retain_days")
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        assert http.post("/v1/jobs", json={"prompt": "a"}).json()["spec"]["retain_days"] is None


def refine(repository: Repository, job_id: UUID) -> UUID:
    """A job that starts from the images of another one."""
    spec = SPEC.model_copy(update={"refiner": RefinerSpec(mode="only"), "image": None, "retain_days": None})
    found = tuple(repository.sources(job_id, "image", None))
    made = new_id()
    wanted = Refinement(job_id, "image", spec, found, (64, 64), "png")
    repository.transact(lambda c: refining.add_refined(c, made, wanted, tenant=""))
    return made


def test_an_image_that_another_job_starts_from_stays_for_that_one(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    job_id = run(repository, puppet)
    age(repository, 49)
    refine(repository, job_id)
    assert sweep(duties) == "retired 1 jobs"
    assert keys(store) == 2
    puppet.finish(puppet.claim())
    age(repository, 1)
    for _ in range(2):
        repository.transact(duties.drop_inputs)
    assert sweep(duties) == "deleted 2 objects"
    assert keys(store) == 2  # those of the new job, which are kept for ever
    assert count(repository, "inputs") == 0


def test_a_job_is_refused_whose_image_was_marked_a_moment_ago(
    repository: Repository, puppet: Puppet, duties: Duties
) -> None:
    job_id = run(repository, puppet)
    age(repository, 49)
    found = tuple(repository.sources(job_id, "image", None))
    sweep(duties)
    spec = SPEC.model_copy(update={"refiner": RefinerSpec(mode="only")})
    wanted = Refinement(job_id, "image", spec, found, (64, 64), "png")
    with pytest.raises(SourceGone, match="kept no longer"):
        repository.transact(lambda c: refining.add_refined(c, new_id(), wanted, tenant=""))


def test_only_jobs_with_a_term_are_read(repository: Repository, puppet: Puppet) -> None:
    run(repository, puppet)
    repository.transact(lambda c: c.execute(ENDED, {"jobs": 20_000}))
    repository.transact(lambda c: c.execute(text("ANALYZE")))
    with repository.engine.connect() as connection:
        due = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {retaining._MARK.text}")
        found = connection.execute(due, {"limit": 500}).scalar_one()
        connection.rollback()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    assert "ix_jobs_retain_due" in json.dumps(plan)
    assert "Seq Scan" not in json.dumps(plan)
    assert read(plan) <= 10 * 20
    assert repository.transact(lambda c: retaining.mark_due(c, limit=500)) == 20
    assert repository.transact(lambda c: retaining.mark_due(c, limit=500)) == 0
