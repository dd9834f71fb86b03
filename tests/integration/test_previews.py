"""Previews from a worker's publisher through Redis to a reader of events, and only to one that asks."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import pytest

from latentfarm.client import Client
from latentfarm.previews import CHANNELS, Preview, Wish, channel_of
from latentfarm.progress import ProgressPublisher
from tests.integration.serving import Puppet, serve
from tests.integration.test_api_openai import claimed, told
from tests.integration.test_events import Reader, published, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

DATA = b"\xff\xd8 a picture"


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with serve(settings) as url, Client(url) as client:
        yield client


@pytest.fixture
def publisher(broker: Broker) -> Iterator[ProgressPublisher]:
    made = ProgressPublisher(broker.redis)
    made.start()
    yield made
    made.stop()
    made.join(10)


def channels(broker: Broker) -> list[bytes | str]:
    return list(broker.redis.pubsub_channels(f"{CHANNELS}*"))


def run(publisher: ProgressPublisher, job: UUID, total: int = 8) -> list[int]:
    """Steps of one image as an engine takes them; those that were shown."""
    shown = []
    for done in range(1, total + 1):
        if publisher.wants(lambda: job, done, total):
            shown.append(done)
            publisher.show(Preview(job, 0, "base", done, total, DATA))
            until(lambda: not publisher._previews)
    return shown


def test_previews_reach_those_who_wish_for_them_at_their_steps(
    client: Client, broker: Broker, publisher: ProgressPublisher, repository: Repository, store: S3Store
) -> None:
    job, other = (client.submit({"prompt": "a"}).id for _ in range(2))
    readers = [
        Reader(client, job),
        Reader(client, job, previews=3),
        Reader(client, job, previews=2),
        Reader(client, job, previews=2),
        Reader(client, other, previews=1),
    ]
    until(lambda: len(channels(broker)) == 3)
    until(lambda: publisher.wants(lambda: job, 2, 8) and publisher.wants(lambda: job, 3, 8))
    assert run(publisher, job) == [2, 3, 4, 6]

    def steps(reader: Reader) -> list[int]:
        return [event.data["step"] for event in reader.seen if event.type == "preview"]

    until(lambda: [steps(reader) for reader in readers] == [[], [3, 6], [2, 4, 6], [2, 4, 6], []])
    event = readers[1].seen[0]
    assert (event.id, event.data["media_type"], event.data["total"]) == (None, "image/jpeg", 8)
    assert base64.b64decode(event.data["b64_json"]) == DATA
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim())
    for reader in readers:
        reader.join(10)
    # Nothing is left of the wishes, and nothing is made any more.
    until(lambda: not channels(broker))
    until(lambda: not publisher.wants(lambda: job, 2, 8))
    before = published(broker)
    assert run(publisher, job) == []
    assert published(broker) == before


def test_a_wish_ends_with_the_process_that_had_it_and_lives_through_a_lost_connection(
    client: Client, broker: Broker, publisher: ProgressPublisher, repository: Repository, store: S3Store
) -> None:
    job = client.submit({"prompt": "a"}).id
    reader = Reader(client, job, previews=1)
    until(lambda: publisher.wants(lambda: job, 1, 8))
    broker.redis.client_kill_filter(_type="pubsub")
    until(lambda: not channels(broker))
    until(lambda: channels(broker) and publisher.wants(lambda: job, 1, 8))
    publisher.show(Preview(job, 0, "base", 1, 8, DATA))
    until(lambda: [event.type for event in reader.seen] == ["preview"])
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim())
    reader.join(10)
    assert not reader.is_alive(), "it reads to the end of its job"


def test_partial_images_come_before_their_image_and_no_more_of_them_than_asked(
    settings: Settings, broker: Broker, repository: Repository, store: S3Store
) -> None:
    puppet = Puppet(repository, store)
    body = {"prompt": "a", "size": "64x64", "seed": 5, "n": 2, "stream": True, "partial_images": 1}
    with (
        serve(settings) as url,
        httpx.stream("POST", f"{url}/v1/images/generations", json=body, timeout=60) as answer,
    ):
        lines = answer.iter_lines()
        first, second = claimed(puppet, 2)
        channel = channel_of(first.job_id, Wish(shares=1))

        def send(index: int) -> None:
            message = Preview(first.job_id, index, "base", 4, 8, DATA).encode()
            until(lambda: broker.redis.publish(channel, message))

        send(1)
        seen = [told(lines)]
        # Of each image one was asked for.
        send(1)
        send(0)
        seen.append(told(lines))
        files = puppet.finish([first, second])
        seen += [told(lines), told(lines)]
    assert [event["type"].split(".")[1] for event in seen] == ["partial_image"] * 2 + ["completed"] * 2
    assert [(event["seed"], event.get("partial_image_index")) for event in seen] == [
        (6, 0),
        (5, 0),
        (5, None),
        (6, None),
    ]
    assert (seen[0]["output_format"], seen[0]["size"], seen[2]["output_format"]) == ("jpeg", "64x64", "png")
    assert [base64.b64decode(event["b64_json"]) for event in seen] == [DATA, DATA, files[0], files[1]]
    until(lambda: not channels(broker))
