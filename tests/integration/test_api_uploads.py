"""`POST /v1/uploads` of a real API, up to the file in the bucket."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from latentfarm.keys import upload_key
from latentfarm.references import MAX_INPUT_BYTES
from latentfarm.views import UploadView
from tests.drawing import picture
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_an_upload_is_offered_and_used(http: httpx.Client, store: S3Store, settings: Settings) -> None:
    data = picture()
    answer = http.post("/v1/uploads", json={"size": len(data)})
    assert answer.status_code == 201
    offer = UploadView.model_validate_json(answer.content)
    assert (offer.method, offer.size) == ("PUT", len(data))
    left = (offer.expires_at - datetime.now(UTC)).total_seconds()
    assert settings.upload_s - 60 < left <= settings.upload_s + 5
    assert httpx.put(offer.url, content=data).status_code == 200
    assert store.read(upload_key(offer.id), most=len(data)) == data


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "size"),
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": MAX_INPUT_BYTES + 1}, "size"),
        ({"size": "5"}, "size"),
        ({"size": True}, "size"),
        ({"size": 5.5}, "size"),
        ({"size": 5, "key": "../x"}, "key"),
        ([], "body"),
    ],
)
def test_other_bodies_are_refused_by_name(http: httpx.Client, body: object, field: str) -> None:
    answer = http.post("/v1/uploads", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field


def test_links_name_the_address_that_users_see(settings: Settings) -> None:
    public = settings.model_copy(update={"s3_public_url": "https://pictures.example"})
    with serve(public) as url:
        offer = httpx.post(f"{url}/v1/uploads", json={"size": 5}).json()
    assert offer["url"].startswith(f"https://pictures.example/{settings.s3_bucket}/v1/uploads/")
    assert str(uuid.UUID(offer["id"])) in offer["url"]
