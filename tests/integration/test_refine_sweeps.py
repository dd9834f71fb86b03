"""Latents are kept while somebody refines them, and deleted when nobody does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.errors import SourceGone
from latentfarm.ids import new_id
from latentfarm.records import Refinement
from latentfarm.repository import refining
from latentfarm.spec import RefinerSpec, RenderSpec
from scheduler.duties import Duties
from tests.integration.serving import Puppet

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SPEC = RenderSpec(
    prompt="a",
    seed=1,
    num_images=2,
    width=64,
    height=64,
    refiner=RefinerSpec(mode="image"),
    keep_latents=0,
)


@pytest.fixture
def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    """A scheduler's, that keeps nothing longer than it must."""
    brief = settings.model_copy(update={"input_keep_days": 0.0, "collect_after_s": 0.0})
    return Duties(repository, broker, store, brief)


@pytest.fixture(autouse=True)
def _empty_bucket(store: S3Store) -> None:
    """Ids of renders begin anew with each test's database, and the bucket is shared."""
    store.delete(list(store.list_keys("v1/latents/")))


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def run(repository: Repository, puppet: Puppet) -> UUID:
    """A job that has ended, and whose latents nobody wants to keep."""
    job_id = new_id()
    repository.add_job(job_id, SPEC, tenant="")
    puppet.hand_over(puppet.claim())
    puppet.finish(puppet.claim())
    return job_id


def wanted(repository: Repository, job: UUID, source: str = "latents", keep_latents: int = 0) -> Refinement:
    found = repository.sources(job, source, None)
    spec = SPEC.model_copy(update={"keep_latents": keep_latents, "num_images": len(found)})
    if source == "image":
        spec = spec.model_copy(update={"refiner": RefinerSpec(mode="only"), "image": "sha256:" + "0" * 64})
    return Refinement(job, source, spec, tuple(found), (64, 64), "png")


def refine(repository: Repository, job: UUID, source: str = "latents", keep_latents: int = 0) -> UUID:
    new = new_id()
    repository.add_refined(new, wanted(repository, job, source, keep_latents), tenant="")
    return new


def sweep(duties: Duties) -> str:
    """Marks, and deletes what is marked."""
    work = (duties.drop_latents, duties.collect, duties.drop_inputs, duties.drop_inputs)
    return ", ".join(filter(None, map(duties.repository.transact, work)))


def due(repository: Repository) -> int:
    """Jobs that the sweep of latents has still to look at."""
    counted = text("SELECT count(*) FROM jobs WHERE latents_kept")
    return int(repository.transact(lambda c: c.execute(counted).scalar_one()))


def latents(store: S3Store, repository: Repository) -> int:
    """How many of the test's latents are in the bucket."""
    rows = repository.transact(
        lambda c: c.execute(text("SELECT DISTINCT render_id FROM attempts WHERE stage = 0")).scalars().all()
    )
    return sum(len(list(store.list_keys(f"v1/latents/{row}/"))) for row in rows)


def age(repository: Repository, job: UUID, interval: str) -> None:
    parameters = {"id": job, "age": interval}
    repository.transact(
        lambda c: c.execute(
            text("UPDATE jobs SET finished_at = finished_at - CAST(:age AS interval) WHERE id = :id"),
            parameters,
        )
    )


def test_latents_outlive_every_job_that_needs_them(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    job = run(repository, puppet)
    brief, patient = refine(repository, job), refine(repository, job, keep_latents=600)
    assert sweep(duties) == ""
    puppet.finish(puppet.claim())
    for finished in (brief, patient):
        found = repository.get_job(finished, tenant="")
        assert found is not None
        assert found.finished_at is not None
    assert sweep(duties) == "", "one of them asked to keep them"
    assert due(repository) == 1
    assert len(repository.sources(job, "latents", None)) == 2
    age(repository, patient, "601 s")
    assert sweep(duties) == "marked 2 latents, deleted 2 objects"
    assert latents(store, repository) == 0
    assert due(repository) == 0
    assert [source.stored for source in repository.sources(job, "latents", None)] == [None, None]
    # What was shown of the jobs stays.
    assert [image.source_index for image in repository.images(patient)] == [0, 1]


def test_latents_that_were_refined_much_later_are_deleted_too(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    """Their own job is then one that the sweep looks at no more."""
    job = run(repository, puppet)
    refine(repository, job)
    age(repository, job, "40 days")
    assert sweep(duties) == ""
    assert due(repository) == 1
    puppet.finish(puppet.claim())
    assert sweep(duties) == "marked 2 latents, deleted 2 objects"
    assert latents(store, repository) == 0


def test_refining_some_images_keeps_theirs_alone(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    job = run(repository, puppet)
    whole = wanted(repository, job)
    one = Refinement(
        job,
        "latents",
        whole.spec.model_copy(update={"num_images": 1}),
        whole.sources[1:],
        whole.size,
        whole.format,
    )
    repository.add_refined(new_id(), one, tenant="")
    assert sweep(duties) == "marked 1 latents, deleted 1 objects"
    (claimed,) = puppet.claim()
    assert claimed.latents is not None
    store.get(claimed.latents)


def test_a_sweep_that_comes_first_refuses_the_job(
    repository: Repository, puppet: Puppet, duties: Duties
) -> None:
    """The new job finds the latents, and waits for their row until they are gone."""
    job = run(repository, puppet)
    planned = wanted(repository, job)
    refused: list[Exception] = []

    def add() -> None:
        try:
            repository.add_refined(new_id(), planned, tenant="")
        except SourceGone as error:
            refused.append(error)

    with repository.engine.begin() as sweeping:
        assert duties.drop_latents(sweeping) == "marked 2 latents"
        late = threading.Thread(target=add)
        late.start()
        late.join(0.3)
        assert late.is_alive()  # it waits for the sweep to end
    late.join(10)
    assert "images 0, 1" in str(refused[0])
    assert isinstance(refused[0], SourceGone)
    assert refused[0].code == "latents_gone"
    found = repository.transact(lambda c: c.execute(text("SELECT count(*) FROM jobs")).scalar_one())
    assert found == 1


def test_a_job_that_was_refused_after_all_keeps_nothing(
    repository: Repository, puppet: Puppet, duties: Duties
) -> None:
    """While it was being stored it held the latents; their job must not count as done with."""
    job = run(repository, puppet)
    planned = wanted(repository, job)
    with repository.engine.connect() as storing:
        refining.add_refined(storing, new_id(), planned, tenant="")
        assert sweep(duties) == ""
        storing.rollback()
    assert sweep(duties) == "marked 2 latents, deleted 2 objects"


def test_a_sweep_that_dies_leaves_nobody_latents_that_are_gone(
    repository: Repository, puppet: Puppet, duties: Duties
) -> None:
    """At every point: what is deleted from the bucket was out of reach before."""
    job = run(repository, puppet)
    planned = wanted(repository, job)
    assert repository.transact(duties.drop_latents) == "marked 2 latents"
    with repository.engine.connect() as dying:
        assert duties.collect(dying) == "deleted 2 objects"
        dying.rollback()
    with pytest.raises(SourceGone):
        repository.add_refined(new_id(), planned, tenant="")
    assert sweep(duties) == "deleted 2 objects"


def test_a_job_that_comes_first_keeps_the_sweep_away(
    repository: Repository, puppet: Puppet, duties: Duties
) -> None:
    job = run(repository, puppet)
    planned = wanted(repository, job)
    with repository.engine.begin() as storing:
        refining.add_refined(storing, new_id(), planned, tenant="")
        assert sweep(duties) == ""
    assert sweep(duties) == ""
    assert all(source.stored for source in repository.sources(job, "latents", None))


def test_refined_images_are_forgotten_as_inputs_and_stay_images(
    repository: Repository, puppet: Puppet, store: S3Store, duties: Duties
) -> None:
    job = run(repository, puppet)
    refine(repository, job, "image")
    assert "inputs" not in sweep(duties)
    claimed = puppet.claim()
    puppet.finish(claimed)
    assert "marked 2 inputs, deleted 2 inputs" in sweep(duties)
    for image in repository.images(job):
        assert image.ref is not None
        assert store.get(image.ref).startswith(b"image ")
    assert repository.transact(lambda c: c.execute(text("SELECT count(*) FROM inputs")).scalar_one()) == 0
