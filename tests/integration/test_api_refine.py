"""Refining a job again, through a real API, with a puppet worker behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from latentfarm.errors import ErrorClass
from latentfarm.records import Shape
from latentfarm.references import content
from latentfarm.repository import inputs
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from tests.drawing import picture
from tests.integration.pictures import RED, count, data_url
from tests.integration.refining import AGAIN, ENSEMBLE, accepted, by_index, refine, run, submit
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


def test_kept_latents_are_refined_without_the_base_stage(
    http: httpx.Client, puppet: Puppet, repository: Repository, store: S3Store
) -> None:
    job = submit(http, refiner=AGAIN, lane="bulk", priority=3, metadata={"order": "1"})
    latents, images = run(puppet)
    answer = refine(http, job, refiner={"strength": 0.7, "num_inference_steps": 30}, metadata={"order": "2"})
    assert answer.status_code == 202, answer.text
    new = answer.json()
    assert answer.headers["location"] == new["url"] == str(http.base_url.join(f"/v1/jobs/{new['id']}"))
    assert (new["kind"], new["state"], new["num_images"]) == ("refine", "queued", 3)
    assert new["refined_from"] == {**new["refined_from"], "job": job, "source": "latents"}
    assert (new["lane"], new["priority"], new["metadata"]) == ("bulk", 3, {"order": "2"})
    assert new["spec"]["refiner"] == {
        **new["spec"]["refiner"],
        "mode": "image",
        "strength": 0.7,
        "num_inference_steps": 30,
        "guidance_scale": 3.0,
    }
    shown = [(image["seed"], image["source_index"], image["stage"]) for image in new["images"]]
    assert shown == [(2**53 - 2, 0, "refine"), (2**53 - 1, 1, "refine"), (0, 2, "refine")]
    claimed = by_index(puppet.claim())
    assert {item.stage for item in claimed} == {Stage.REFINE}
    assert {queue.name for queue in repository.queues()} == {"base.tiny.bulk", "refine.tiny.bulk"}
    assert {item.ordinal: store.get(item.latents) for item in claimed if item.latents} == latents
    again = puppet.finish(claimed)
    ended = http.get(new["url"]).json()
    assert (ended["state"], ended["remaining"], ended["counts"]["succeeded"]) == ("succeeded", 0, 3)
    assert {image["index"]: image["size"] for image in ended["images"]} == {i: len(again[i]) for i in again}
    assert http.get(f"/v1/jobs/{job}").json()["refined_from"] is None
    assert len(images) == 3


def test_finished_images_are_refined_without_a_copy(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository
) -> None:
    job = submit(http, refiner=ENSEMBLE)
    _, images = run(puppet)
    new = accepted(
        http, job, source="image", indices=[2, 0], prompt="b", refiner={"mode": "image", "strength": 0.5}
    )
    assert (new["refined_from"]["source"], new["num_images"], new["seed"]) == ("image", 2, 0)
    assert [(image["seed"], image["source_index"]) for image in new["images"]] == [(0, 2), (2**53 - 2, 0)]
    assert new["spec"]["refiner"] == {
        **new["spec"]["refiner"],
        "mode": "only",
        "strength": 0.5,
        "high_noise_frac": None,
        "aesthetic_score": 7.0,
        "num_inference_steps": 20,
    }
    assert (new["spec"]["prompt"], new["spec"]["image"]) == ("b", None)
    claimed = by_index(puppet.claim())
    assert [(item.stage, item.latents, item.seed) for item in claimed] == [
        (Stage.REFINE, None, 0),
        (Stage.REFINE, None, 2**53 - 2),
    ]
    for item, index in zip(claimed, (2, 0), strict=True):
        ((sha256, ref),) = item.inputs.items()
        assert item.picture["image"] == content(sha256)
        assert store.get(ref) == images[index]
        assert ref.key.startswith("v1/images/")
    puppet.finish(claimed)
    # Its own images, and what they were made from, can be refined again.
    third = accepted(http, new["id"], indices=[1])
    assert third["spec"]["image"] is not None
    assert third["images"][0]["source_index"] == 1
    assert count(repository, "inputs") == 3


def test_a_job_without_a_refiner_has_its_images_refined(http: httpx.Client, puppet: Puppet) -> None:
    job = submit(http, num_images=1, guidance_scale=3.5)
    puppet.finish(puppet.claim())
    new = accepted(http, job)
    assert new["refined_from"]["source"] == "image"
    assert new["spec"]["refiner"] == {
        "mode": "only",
        "strength": 0.3,
        "high_noise_frac": None,
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "aesthetic_score": 6.0,
        "negative_aesthetic_score": 2.5,
    }
    assert RenderSpec.model_validate(new["spec"]).image is not None


def test_what_was_refined_from_latents_can_be_so_again(
    http: httpx.Client, puppet: Puppet, store: S3Store
) -> None:
    job = submit(http, refiner=AGAIN)
    latents, _ = run(puppet)
    second = accepted(http, job, indices=[1])
    puppet.finish(puppet.claim())
    third = accepted(http, second["id"], refiner={"strength": 0.9})
    assert third["refined_from"]["job"] == second["id"]
    (claimed,) = puppet.claim()
    assert claimed.latents is not None
    assert store.get(claimed.latents) == latents[1]


def test_inpainted_latents_keep_their_mask_and_the_image_is_refined_as_a_whole(
    http: httpx.Client, puppet: Puppet
) -> None:
    job = submit(
        http,
        num_images=1,
        refiner=AGAIN,
        image=data_url(RED),
        mask_image=data_url(RED),
        width=64,
        height=72,
        strength=0.8,
    )
    run(puppet)
    assert accepted(http, job)["spec"]["mask_image"] is not None
    whole = accepted(http, job, source="image")["spec"]
    assert (whole["mask_image"], whole["strength"], whole["width"], whole["height"]) == (None, None, 64, 72)
    latents, image = sorted(puppet.claim(), key=lambda item: item.latents is None)
    assert len(latents.inputs) == len(image.inputs) == 1


def test_a_crop_has_the_size_of_the_picture_that_it_was_put_back_into(
    http: httpx.Client, puppet: Puppet, repository: Repository
) -> None:
    given = data_url(picture(133, 100))
    crop = {"image": given, "mask_image": given, "padding_mask_crop": 8, "width": 64, "height": 64}
    job = submit(http, num_images=1, **crop)
    puppet.finish(puppet.claim())
    shown = accepted(http, job)["spec"]
    assert (shown["width"], shown["height"], shown["padding_mask_crop"]) == (128, 96, None)
    repository.transact(lambda c: c.execute(text("DELETE FROM inputs WHERE key IS NULL")))
    answer = refine(http, job)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:latentfarm:problem:input_gone")


def test_a_new_job_is_cancelled_and_counted_as_any(http: httpx.Client, puppet: Puppet) -> None:
    job = submit(http, refiner=AGAIN)
    run(puppet)
    new = accepted(http, job)
    puppet.fail(puppet.claim()[:1], ErrorClass.USER, "no")
    ended = http.post(f"{new['url']}/cancel").json()
    assert (ended["state"], ended["counts"]["failed"], ended["counts"]["cancelled"]) == ("cancelled", 1, 2)
    assert http.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"
    listed = http.get("/v1/jobs").json()["data"]
    assert [entry["kind"] for entry in listed] == ["refine", "single"]


def test_an_image_that_was_also_uploaded_is_one_input(
    http: httpx.Client, puppet: Puppet, repository: Repository, store: S3Store
) -> None:
    job = submit(http, num_images=2)
    images = puppet.finish(puppet.claim())
    shas = [ref.ref.sha256 for ref in repository.images(UUID(job)) if ref.ref]
    for sha256, data in zip(shas, images.values(), strict=True):
        repository.transact(lambda c, s=sha256, d=data: inputs.plan(c, s, len(d), Shape("png", 128, 128)))  # type: ignore[misc]
    repository.transact(lambda c: inputs.mark_stored(c, shas[0]))
    accepted(http, job)
    places = [ref.key.split("/")[1] for ref in repository.transact(lambda c: inputs.refs(c, shas)).values()]
    assert sorted(places) == ["images", "inputs"], "one had been put there, one only meant to be"
