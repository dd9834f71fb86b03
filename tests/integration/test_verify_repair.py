"""What verify --repair does: it renders again what is lost, once, from the first stage that is needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from latentfarm.ids import new_id
from latentfarm.records import Refinement
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Stage
from latentfarm.verify.repair import AGAIN
from latentfarm.verify.trouble import Kind
from scheduler.duties import Duties
from tests.integration.pictures import RED, add_job, data_url, take, there
from tests.integration.serving import Puppet
from tests.integration.verifying import Verified, ended, finish, own_bucket, rows, submit

if TYPE_CHECKING:
    from latentfarm.broker import Broker
    from latentfarm.inputs.resolving import Resolver
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

EVENTS = "SELECT type FROM outbox WHERE type LIKE 'job.%' ORDER BY id"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return own_bucket(settings)


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def test_lost_images_are_rendered_again_and_the_job_ends_anew(
    repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    job_id, images = ended(repository, puppet, 4)
    store.delete([images[0]])
    store.put(images[3], b"other bytes", "image/png")
    fences = rows(repository, "SELECT fence FROM renders ORDER BY ordinal")
    found = Verified(repository, store, [job_id], repair=True)
    assert found.done == [AGAIN, AGAIN]
    assert rows(repository, "SELECT remaining, queued, state, finished_at FROM jobs") == [
        (2, 2, "running", None)
    ]
    assert [image.ref is None for image in repository.images(job_id)] == [True, False, False, True]
    # Again, before anything was rendered: nothing twice.
    assert Verified(repository, store, [job_id], repair=True).told == []
    claimed = puppet.claim()
    assert sorted(item.ordinal for item in claimed) == [0, 3]
    # Once by the repair, and once by the claim.
    assert [(item.fence,) for item in claimed] == [(fences[item.ordinal][0] + 2,) for item in claimed]  # type: ignore[operator]
    finish(puppet, claimed)
    assert rows(repository, "SELECT remaining, queued, state FROM jobs") == [(0, 0, "succeeded")]
    assert rows(repository, EVENTS) == [
        (f"job.{name}",) for name in ("running", "succeeded", "repairing", "succeeded")
    ]
    assert Verified(repository, store, [job_id]).told == []


def test_what_is_left_of_a_lost_image_is_collected(
    repository: Repository, store: S3Store, puppet: Puppet, broker: Broker, settings: Settings
) -> None:
    job_id, images = ended(repository, puppet, 1)
    store.put(images[0], b"other bytes", "image/png")
    Verified(repository, store, [job_id], repair=True)
    finish(puppet, puppet.claim())
    duties = Duties(repository, broker, store, settings)
    assert repository.transact(duties.collect) == "deleted 1 objects"
    assert images[0] not in set(store.list_keys("v1/images/"))
    assert Verified(repository, store).told == []


@pytest.mark.parametrize(("latents", "stage"), [("good", Stage.REFINE), ("gone", Stage.BASE)])
def test_a_render_begins_again_with_the_first_stage_that_is_needed(
    repository: Repository, store: S3Store, puppet: Puppet, latents: str, stage: Stage
) -> None:
    job_id, images = ended(repository, puppet, 2, refiner=True)
    store.delete([images[1]])
    if latents == "gone":
        store.delete(list(store.list_keys("v1/latents/2/")))
    found = Verified(repository, store, [job_id], repair=True)
    assert AGAIN in found.done
    (claimed,) = puppet.claim()
    assert (claimed.ordinal, claimed.stage) == (1, stage)
    if stage is Stage.REFINE:
        assert claimed.latents is not None
        assert store.get(claimed.latents)
    else:
        puppet.hand_over([claimed])
        (claimed,) = puppet.claim()
    finish(puppet, [claimed])
    assert rows(repository, "SELECT state FROM jobs") == [("succeeded",)]
    assert Verified(repository, store, [job_id]).told == []


def test_latents_alone_are_forgotten_and_nothing_is_rendered(
    repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    job_id, _ = ended(repository, puppet, 1, refiner=True)
    store.delete(list(store.list_keys("v1/latents/")))
    assert Verified(repository, store, [job_id], repair=True).done == ["forgotten"]
    assert rows(repository, "SELECT state FROM jobs") == [("succeeded",)]
    assert [source.stored for source in repository.sources(job_id, "latents", None)] == [None]
    assert Verified(repository, store, [job_id]).told == []


def test_an_image_without_a_row_is_rendered_again(
    repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    job_id, _ = ended(repository, puppet, 1)
    rows(repository, "DELETE FROM objects RETURNING 1")
    found = Verified(repository, store, [job_id], repair=True)
    assert [trouble.kind for trouble in found.told] == [Kind.MISSING, Kind.STRAY]
    assert found.done == [AGAIN, "deleted"]
    finish(puppet, puppet.claim())
    assert Verified(repository, store, [job_id]).told == []


def refined(repository: Repository, puppet: Puppet) -> list[str]:
    """A job that was refined from another one's latents; the keys of its image and of these latents."""
    job_id, _ = ended(repository, puppet, 1, refiner=True)
    sources = tuple(repository.sources(job_id, "latents", None))
    spec = RenderSpec(
        prompt="a", seed=1, width=64, height=64, sampler="euler", refiner=RefinerSpec(mode="image")
    )
    new = new_id()
    repository.add_refined(new, Refinement(job_id, "latents", spec, sources, (64, 64), "png"), tenant="")
    (ref,) = finish(puppet, puppet.claim()).values()
    assert sources[0].ref is not None
    return [ref.key, sources[0].ref.key]


def test_a_refined_image_needs_the_latents_that_it_was_made_from(
    repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    image, latents = refined(repository, puppet)
    store.delete([image])
    assert Verified(repository, store, repair=True).done == [AGAIN]
    (claimed,) = puppet.claim()
    assert claimed.stage is Stage.REFINE
    assert claimed.latents is not None
    finish(puppet, [claimed])
    store.delete([latents, claimed.key])
    found = Verified(repository, store, repair=True)
    assert sorted(found.done) == [
        "cannot be repaired: the latents that it was refined from are gone",
        "forgotten",
    ]
    assert rows(repository, "SELECT DISTINCT state FROM renders") == [(3,)]


def test_a_cancelled_job_stays_as_it_is(repository: Repository, store: S3Store, puppet: Puppet) -> None:
    job_id = submit(repository, 2)
    refs = finish(puppet, puppet.claim(1))
    repository.mark_cancelled(job_id, tenant="somebody")
    repository.cancel_renders(job_id)
    store.delete([refs[0].key])
    found = Verified(repository, store, [job_id], repair=True)
    assert found.done == ["left: its job was cancelled, or it changed meanwhile"]
    assert rows(repository, "SELECT state FROM jobs") == [("cancelled",)]


def test_a_job_with_failed_renders_fails_again(
    repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    from latentfarm.errors import ErrorClass

    job_id = submit(repository, 2)
    one, two = puppet.claim()
    puppet.fail([two], ErrorClass.USER, "no")
    refs = finish(puppet, [one])
    store.delete([refs[one.ordinal].key])
    assert Verified(repository, store, [job_id], repair=True).done == [AGAIN]
    finish(puppet, puppet.claim())
    assert rows(repository, "SELECT state, failed, remaining FROM jobs") == [("failed", 1, 0)]


def test_two_repairs_at_once_queue_a_render_once(
    repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    job_id, images = ended(repository, puppet, 8)
    store.delete(images)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: Verified(repository, store, [job_id], repair=True), range(4)))
    assert sum(run.counts.rendered_again for run in runs) == 8
    assert rows(repository, "SELECT remaining, queued FROM jobs") == [(8, 8)]
    finish(puppet, puppet.claim())
    assert rows(repository, "SELECT remaining, queued, state FROM jobs") == [(0, 0, "succeeded")]


def test_a_lost_picture_of_a_user_can_be_given_again(
    resolver: Resolver, repository: Repository, store: S3Store, puppet: Puppet
) -> None:
    job_id = add_job(repository, take(resolver, image=data_url(RED)))
    refs = finish(puppet, puppet.claim())
    (key,) = store.list_keys("v1/inputs/")
    store.delete([key, refs[0].key])
    found = Verified(repository, store, [job_id], repair=True)
    assert sorted(found.done) == [
        "cannot be repaired: a picture that it starts from is gone",
        "forgotten; who gives the picture again stores it",
    ]
    add_job(repository, take(resolver, image=data_url(RED)))
    assert there(store, RED)
    found = Verified(repository, store, [job_id], repair=True)
    assert found.done == [AGAIN]
    assert len(puppet.claim()) == 2
