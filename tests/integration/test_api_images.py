from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from latentfarm.errors import ErrorClass
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SPEC = {"prompt": "a red circle", "num_images": 2}


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def submit(http: httpx.Client) -> str:
    return str(http.post("/v1/jobs", json=SPEC).headers["location"])


def test_a_finished_image_is_read_by_link_and_through_the_api(http: httpx.Client, puppet: Puppet) -> None:
    url = submit(http)
    files = puppet.finish(puppet.claim())
    shown = http.get(url).json()["images"]
    for image in shown:
        redirect = http.get(image["url"])
        assert redirect.status_code == 307
        assert redirect.headers["cache-control"] == "no-store"
        linked = httpx.get(redirect.headers["location"])
        through = http.get(image["url"], params={"proxy": 1})
        assert linked.content == through.content == files[image["index"]]
        assert through.headers["content-type"] == "image/png"
        assert int(through.headers["content-length"]) == image["size"]
        assert through.headers["etag"] == f'"{image["sha256"]}"'


def test_a_link_ends(repository: Repository, store: S3Store, settings: Settings) -> None:
    short = settings.model_copy(update={"link_s": 1})
    with serve(short) as url, httpx.Client(base_url=url) as http:
        job = submit(http)
        Puppet(repository, store).finish(Puppet(repository, store).claim())
        link = http.get(f"{job}/images/0").headers["location"]
    assert "X-Amz-Expires=1&" in link


def test_no_browser_is_left_to_guess_what_an_answer_is(http: httpx.Client, puppet: Puppet) -> None:
    """Images and what they say of themselves were made of what users wrote."""
    job = submit(http)
    puppet.finish(puppet.claim())
    for path in (f"{job}/images/0?proxy=1", f"{job}/images/0", job, f"{job}/images/9", "/healthz", "/none"):
        assert http.get(path).headers["X-Content-Type-Options"] == "nosniff", path


def test_an_image_that_is_not_there_yet_conflicts(http: httpx.Client, puppet: Puppet) -> None:
    url = submit(http)
    for states in (("queued", "dispatched"), ("running",)):
        answer = http.get(f"{url}/images/1")
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:latentfarm:problem:not_ready"
        assert answer.json()["detail"].endswith(states)
        assert int(answer.headers["retry-after"]) > 0
        puppet.claim()


def test_an_image_that_never_will_be_is_gone(http: httpx.Client, puppet: Puppet) -> None:
    url = submit(http)
    puppet.fail(puppet.claim()[:1], ErrorClass.USER, "cannot be drawn")
    http.post(f"{url}/cancel")
    failed, cancelled = (http.get(f"{url}/images/{index}") for index in (0, 1))
    assert (failed.status_code, cancelled.status_code) == (410, 410)
    assert failed.json()["detail"].endswith("is failed: user: cannot be drawn")
    assert cancelled.json()["type"] == "urn:latentfarm:problem:cancelled"


def test_an_index_beyond_the_job_is_not_found(http: httpx.Client) -> None:
    assert http.get(f"{submit(http)}/images/2").status_code == 404


def test_without_the_object_store_only_the_bytes_are_away(
    repository: Repository, store: S3Store, settings: Settings
) -> None:
    away = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1", "s3_public_url": None})
    with serve(away) as url, httpx.Client(base_url=url, timeout=60) as http:
        job = submit(http)
        puppet = Puppet(repository, store)
        puppet.finish(puppet.claim())
        assert http.get(job).json()["state"] == "succeeded"
        assert http.get(f"{job}/images/0").status_code == 307
        answer = http.get(f"{job}/images/0", params={"proxy": 1})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "127.0.0.1:1" not in answer.text
