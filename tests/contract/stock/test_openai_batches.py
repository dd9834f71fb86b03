"""Files and batches by the stock `openai` client, unmodified, against a real farm; every picture is judged."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import openai
import pytest
from openai import OpenAI

from tests.acceptance.farm import until
from tests.contract.stock.scenes import scene, shows
from training.scene import caption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types import Batch

    from tests.acceptance.farm import Farm

ENDPOINT: Final = "/v1/images/generations"


@pytest.fixture(scope="module")
def client(farm: Farm) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{farm.url}/v1", api_key="any") as client:
        yield client


def line(number: int, **body: Any) -> bytes:
    """A request for the picture of a scene."""
    asked = {"model": "tiny", "prompt": caption(scene(number)), "size": "128x128", "num_inference_steps": 20}
    request = {
        "custom_id": f"row-{number}",
        "method": "POST",
        "url": ENDPOINT,
        "body": {**asked, "seed": 100 + number, **body},
    }
    return json.dumps(request).encode() + b"\n"


def make(client: OpenAI, content: bytes, **fields: Any) -> Batch:
    sent = client.files.create(file=("rows.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=sent.id, endpoint=ENDPOINT, completion_window="24h", **fields)


def ended(client: OpenAI, batch: Batch, timeout_s: float) -> Batch:
    final = {"failed", "completed", "expired", "cancelled"}
    until("the batch has ended", lambda: client.batches.retrieve(batch.id).status in final, timeout_s, 0.5)
    return client.batches.retrieve(batch.id)


def answers(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(one) for one in client.files.content(file_id).iter_lines()]


def pictures(answer: dict[str, Any]) -> list[bytes]:
    assert (answer["response"]["status_code"], answer["error"]) == (200, None)
    return [base64.b64decode(image["b64_json"]) for image in answer["response"]["body"]["data"]]


@pytest.mark.parametrize(
    ("requests", "steps", "right"),
    [(20, 20, 0.95), pytest.param(1_000, 8, 0.8, marks=pytest.mark.long)],
)
def test_a_batch_of_many_lines_ends_with_the_pictures_that_were_asked_for(
    client: OpenAI, requests: int, steps: int, right: float
) -> None:
    bad = line(requests, size="1000x128")
    content = b"".join(line(number, num_inference_steps=steps) for number in range(requests)) + bad
    batch = make(client, content, metadata={"of": "tests"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"of": "tests"})
    batch = ended(client, batch, 120 + 4 * requests)
    counts = batch.request_counts
    assert counts is not None
    assert (batch.status, counts.total, counts.completed, counts.failed) == (
        "completed",
        requests + 1,
        requests,
        1,
    )
    found = answers(client, batch.output_file_id)
    assert [one["custom_id"] for one in found] == [f"row-{number}" for number in range(requests)]
    seen = [shows(data, scene(number)) for number, one in enumerate(found) for data in pictures(one)]
    assert len(seen) == requests
    for fact in ("colour", "shape"):
        assert sum(one[fact] for one in seen) >= right * requests, (fact, seen)
    (error,) = answers(client, batch.error_file_id)
    assert error["custom_id"] == f"row-{requests}"
    assert (error["response"]["status_code"], error["response"]["body"]["error"]["param"]) == (400, "size")


def test_a_line_with_several_images_and_another_format(client: OpenAI) -> None:
    batch = ended(client, make(client, line(0, n=2, output_format="webp") + line(1)), 300)
    several, one = answers(client, batch.output_file_id)
    assert several["response"]["body"]["output_format"] == "webp"
    assert [image["seed"] for image in several["response"]["body"]["data"]] == [100, 101]
    files = pictures(several)
    assert len(set(files)) == 2
    assert all(shows(data, scene(0))["colour"] and data[8:12] == b"WEBP" for data in files)
    assert all(shows(data, scene(1))["colour"] for data in pictures(one))
    assert batch.output_file_id is not None
    shown = client.files.retrieve(batch.output_file_id)
    assert (shown.purpose, shown.bytes) == ("batch_output", len(client.files.content(shown.id).read()))
    assert client.files.delete(shown.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(shown.id)


def test_a_batch_is_cancelled_and_listed(client: OpenAI) -> None:
    many = b"".join(line(number, n=4, num_inference_steps=100) for number in range(25))
    batch = make(client, many)
    until("it is at work", lambda: client.batches.retrieve(batch.id).status == "in_progress", 120)
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    last = ended(client, batch, 120)
    assert last.status == "cancelled"
    assert last.cancelling_at is not None
    assert last.cancelled_at is not None
    told = answers(client, last.error_file_id)
    assert {one["error"]["code"] for one in told} == {"batch_cancelled"}
    other = make(client, line(0)[:-3])
    assert (other.status, other.errors and other.errors.data and other.errors.data[0].line) == ("failed", 1)
    found = list(client.batches.list(limit=1))
    assert [one.id for one in found[:2]] == [other.id, batch.id]


def test_files_are_sent_read_listed_and_deleted(client: OpenAI) -> None:
    content = line(0)
    sent = client.files.create(
        file=("one.jsonl", content),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )
    assert (sent.filename, sent.bytes, sent.status) == ("one.jsonl", len(content), "processed")
    assert sent.expires_at == sent.created_at + 7200
    assert client.files.content(sent.id).read() == content
    assert sent.id in [file.id for file in client.files.list(limit=1, purpose="batch")]
    client.files.delete(sent.id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(sent.id)
    with pytest.raises(openai.BadRequestError, match="input_file_id"):
        client.batches.create(input_file_id=sent.id, endpoint=ENDPOINT, completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("one.jsonl", content), purpose="vision")
