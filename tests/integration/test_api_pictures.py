"""Specs that start from a picture, through a real API."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from latentfarm import Client
from latentfarm.keys import upload_key
from tests.drawing import picture
from tests.integration.https_server import HttpsServer, fetcher
from tests.integration.pictures import BLUE, RED, count, data_url, stored
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SMALL = picture(32, 32)


@pytest.fixture
def client(settings: Settings, https_server: HttpsServer) -> Iterator[Client]:
    with serve(settings, fetcher(https_server)) as url, Client(url) as client:
        yield client


@pytest.fixture
def http(client: Client) -> httpx.Client:
    return client._http.client


def submit(http: httpx.Client, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return http.post("/v1/jobs", json={"prompt": "a", **fields}, headers=headers)


def nothing_is_kept(repository: Repository) -> bool:
    tables = ("jobs", "specs", "renders", "inputs", "idempotency")
    return [count(repository, table) for table in tables] == [0] * len(tables)


def test_every_way_in_makes_the_same_spec(
    client: Client, http: httpx.Client, https_server: HttpsServer, repository: Repository
) -> None:
    first = submit(http, image=data_url(RED), height=64, width=64)
    assert first.status_code == 202, first.text
    ways = (client.upload(RED), https_server.put("/red.png", RED), stored(RED))
    for way in ways:
        answer = submit(http, image=way, height=64, width=64)
        assert answer.json()["spec"]["image"] == stored(RED)
    assert count(repository, "specs") == count(repository, "inputs") == 1
    assert count(repository, "job_inputs") == count(repository, "jobs") == 4


def test_the_picture_decides_the_size_of_the_result(http: httpx.Client) -> None:
    shown = submit(http, image=data_url(picture(133, 71))).json()["spec"]
    assert (shown["width"], shown["height"]) == (128, 64)
    shown = submit(http, image=data_url(picture(133, 71)), width=96, height=80).json()["spec"]
    assert (shown["width"], shown["height"]) == (96, 80)


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"image": "cat.png"}, "image", "Client.upload"),
        ({"image": data_url(b"no picture")}, "image", "no PNG, JPEG or WebP"),
        ({"image": data_url(SMALL)}, "image", "32x32"),
        ({"mask_image": data_url(RED)}, "mask_image", "image"),
        ({"image": data_url(RED), "mask_image": data_url(picture(48, 64))}, "mask_image", "64x48"),
        ({"image": data_url(RED), "mask_image": data_url(b"x")}, "mask_image", "no PNG"),
        ({"image": stored(RED)}, "image", "no picture with this digest"),
        ({"image": "01890000-0000-7000-8000-000000000000"}, "image", "there is no upload"),
        ({"image": "https://10.0.0.1/x"}, "image", "port 443"),
        ({"image": "http://a.example/x"}, "image", "https"),
        ({"image": data_url(RED), "sampler": "none"}, "sampler", "euler"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing(
    http: httpx.Client, repository: Repository, fields: dict[str, Any], field: str, told: str
) -> None:
    answer = submit(http, key="k", **fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert told in answer.text
    assert nothing_is_kept(repository)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "localhost"])
def test_an_api_as_it_is_made_fetches_nothing_private(
    settings: Settings, repository: Repository, host: str
) -> None:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        answer = submit(http, image=f"https://{host}/x.png")
    assert answer.status_code == 422
    assert "is not public" in answer.json()["detail"]
    assert nothing_is_kept(repository)


def test_a_repeated_key_needs_no_picture_any_more(
    client: Client, http: httpx.Client, https_server: HttpsServer, store: S3Store
) -> None:
    """The first answer was lost; meanwhile the upload has gone and the URL shows something else."""
    upload = client.upload(RED)
    url = https_server.put("/x.png", RED)
    first = submit(http, key="k", image=upload, mask_image=url)
    assert first.status_code == 202, first.text
    store.delete([upload_key(UUID(upload))])
    https_server.put("/x.png", BLUE)
    asked = len(https_server.requests)
    again = submit(http, key="k", image=upload, mask_image=url)
    assert (again.content, len(https_server.requests)) == (first.content, asked)
    other = submit(http, key="k", image=data_url(BLUE))
    assert other.json()["errors"][0]["code"] == "idempotency_mismatch"


def test_a_refiner_alone_is_the_first_stage(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    answer = submit(http, image=data_url(RED), width=64, height=64, refiner={"mode": "only"}).json()
    assert [image["stage"] for image in answer["images"]] == ["refine"]
    assert [queue.name for queue in repository.queues()] == ["refine.tiny.interactive"]
    (claimed,) = Puppet(repository, store).claim()
    assert (claimed.stage.label, claimed.latents, len(claimed.inputs)) == ("refine", None, 1)
    assert claimed.key.endswith(".png")


def test_a_claim_has_what_the_worker_needs(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    submit(http, image=data_url(RED), mask_image=data_url(BLUE))
    (claimed,) = Puppet(repository, store).claim()
    assert {store.get(ref) for ref in claimed.inputs.values()} == {RED, BLUE}
    assert claimed.picture["mask_image"] == f"sha256:{hashlib.sha256(BLUE).hexdigest()}"
