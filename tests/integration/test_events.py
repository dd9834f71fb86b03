"""Server-sent events, over HTTP, of jobs that a puppet worker moves on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from api import streaming
from latentfarm import client_events
from latentfarm.client import Client
from latentfarm.database import CHANNEL_EVENTS, notify
from latentfarm.errors import ErrorClass
from latentfarm.events import EventHub
from latentfarm.ids import new_id
from latentfarm.progress import CHANNEL, LOOK_S, Progress, ProgressPublisher
from latentfarm.records import Event
from latentfarm.repository.settling import add_event
from latentfarm.states import Stage
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store
    from latentfarm.views import EventView

LISTENERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Reader(threading.Thread):
    """Reads the events of a job on a thread of its own."""

    def __init__(self, client: Client, job: object, previews: int | None = None) -> None:
        super().__init__(daemon=True)
        self.seen: list[EventView] = []
        self._events = client.events(str(job), previews=previews)
        self.start()

    def run(self) -> None:
        for event in self._events:
            self.seen.append(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.seen]


def in_time(lines: Iterator[str], seconds: float = 30) -> Iterator[str]:
    """Lines, as long as the stream does not outlive its job: pings would keep it open for ever."""
    end = time.monotonic() + seconds
    for line in lines:
        assert time.monotonic() < end
        yield line


def read(
    url: str, job: object, last: int | None = None, *, after: object = None, most: int = 10_000
) -> list[EventView]:
    """One connection, to its end, or cut after so many events."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    asked = {} if after is None else {"after": str(after)}
    with httpx.stream(
        "GET", f"{url}/v1/jobs/{job}/events", headers=headers, params=asked, timeout=30
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(islice(client_events.parse(in_time(answer.iter_lines())), most))


def test_states_are_told_as_they_are_committed(client: Client, puppet: Puppet) -> None:
    job = client.submit({"prompt": "a", "num_images": 2}).id
    reader = Reader(client, job)
    claimed = puppet.claim()
    until(lambda: reader.types == ["job.running"])
    puppet.show(claimed[:1])
    until(lambda: reader.types == ["job.running", "image.succeeded"])
    assert reader.seen[1].data["index"] == 0
    puppet.fail(claimed[1:], ErrorClass.USER, "no")
    reader.join(10)
    assert reader.types == ["job.running", "image.succeeded", "image.failed", "job.failed"]
    assert reader.seen[-1].data["failed"] == 1
    assert [event.id for event in reader.seen] == sorted(event.id or 0 for event in reader.seen)


def test_a_job_of_more_images_than_one_page_of_rows_is_replayed_whole(
    url: str, client: Client, puppet: Puppet
) -> None:
    job = client.submit({"prompt": "a", "num_images": 1000}).id
    puppet.show(puppet.claim())
    seen = read(url, job)
    assert sorted(event.data["index"] for event in seen if event.type == "image.succeeded") == list(
        range(1000)
    )
    assert seen[-1].type == "job.succeeded"


def test_readers_who_follow_ids_miss_nothing_under_concurrency(
    client: Client, puppet: Puppet, repository: Repository
) -> None:
    job = client.submit({"prompt": "a", "num_images": 120}).id
    claimed = puppet.claim()
    reader = Reader(client, job)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: puppet.show([item]), claimed))
    reader.join(30)
    indexes = [event.data["index"] for event in reader.seen if event.type == "image.succeeded"]
    assert sorted(indexes) == list(range(120))
    assert reader.types.count("job.succeeded") == 1


def test_one_connection_listens_for_all_readers(
    client: Client, puppet: Puppet, repository: Repository
) -> None:
    job = client.submit({"prompt": "a"}).id
    readers = [Reader(client, job) for _ in range(30)]
    claimed = puppet.claim()
    until(lambda: all(reader.types == ["job.running"] for reader in readers))
    assert repository.transact(lambda c: c.execute(text(LISTENERS)).scalar_one()) == 1
    # More readers than connections: had each kept one, this would not be answered.
    assert client.get(job).state == "running"
    puppet.show(claimed)
    for reader in readers:
        reader.join(10)
        assert reader.types == ["job.running", "image.succeeded", "job.succeeded"]


def test_readers_live_through_the_loss_of_the_listening_connection(
    client: Client, puppet: Puppet, repository: Repository
) -> None:
    job = client.submit({"prompt": "a"}).id
    reader = Reader(client, job)
    claimed = puppet.claim()
    until(lambda: reader.types == ["job.running"])
    kill = text(LISTENERS.replace("count(*)", "pg_terminate_backend(pid)"))
    assert repository.transact(lambda c: c.execute(kill).scalars().all()) == [True]
    puppet.show(claimed)
    reader.join(20)
    assert reader.types == ["job.running", "image.succeeded", "job.succeeded"]


def test_silence_is_broken_by_pings(url: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PING_S", 0.1)
    job = client.submit({"prompt": "a"}).id
    with httpx.stream("GET", f"{url}/v1/jobs/{job}/events", timeout=10) as answer:
        lines = in_time(answer.iter_lines())
        assert [next(lines) for _ in range(6)] == ["retry: 1000", "", ": ping", "", ": ping", ""]


def published(broker: Broker) -> int:
    return int(broker.redis.info("commandstats").get("cmdstat_publish", {}).get("calls", 0))


def test_steps_are_told_while_somebody_listens_and_only_then(
    client: Client, puppet: Puppet, broker: Broker
) -> None:
    job, other = (client.submit({"prompt": "a"}).id for _ in range(2))
    publisher = ProgressPublisher(broker.redis)
    publisher.start()
    assert broker.redis.pubsub_numsub(CHANNEL)[0][1] == 0
    reader = Reader(client, job)
    steps = iter(range(1, 10_000))

    def told() -> bool:
        publisher.offer(job, 0, Stage.BASE, next(steps), 50)
        return "progress" in reader.types

    until(told)
    publisher.offer(other, 0, Stage.BASE, 1, 50)
    assert all(event.data["job"] == str(job) for event in reader.seen)
    assert reader.seen[0].id is None
    puppet.show(puppet.claim())
    reader.join(10)
    until(lambda: broker.redis.pubsub_numsub(CHANNEL)[0][1] == 0)
    time.sleep(2 * LOOK_S)
    before = published(broker)
    for at in range(20):
        publisher.offer(job, 0, Stage.BASE, at, 50)
        time.sleep(0.05)
    assert published(broker) == before
    publisher.stop()
    publisher.join(10)


def test_a_render_sends_two_steps_a_second_at_most(broker: Broker) -> None:
    publisher = ProgressPublisher(broker.redis)
    channel = broker.redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    channel.subscribe(CHANNEL)
    publisher.start()
    job, seen = new_id(), []
    end = time.monotonic() + 4
    step = 0
    while time.monotonic() < end:
        step += 1
        publisher.offer(job, 0, Stage.REFINE, step, 10_000)
        message = channel.get_message(timeout=0.01)
        if message:
            seen.append(message["data"])
    publisher.stop()
    publisher.join(10)
    channel.close()
    assert 2 <= len(seen) <= 8
    assert b'"stage": "refine"' in seen[0]


def test_a_hub_lives_without_redis_and_ignores_strange_messages(
    settings: Settings, repository: Repository, broker: Broker
) -> None:
    hub = EventHub(settings.database_url, repository, broker.redis)
    hub.start()
    seen: list[object] = []
    job = new_id()
    subscription = hub.watch(job, seen.append)
    until(lambda: broker.redis.pubsub_numsub(CHANNEL)[0][1] == 1)
    for junk in (b"\xff", "[]", "null", '{"job": "x"}', "{}"):
        broker.redis.publish(CHANNEL, junk)
    repository.transact(lambda c: notify(c, CHANNEL_EVENTS, "junk"))
    broker.redis.client_kill_filter(_type="pubsub")
    until(lambda: broker.redis.publish(CHANNEL, Progress(job, 1, "base", 2, 3).encode()) and seen)
    assert seen[0] == Progress(job, 1, "base", 2, 3)
    repository.transact(lambda c: add_event(c, job, "job.running", {}))
    until(lambda: len(seen) > 1 and isinstance(seen[-1], Event))
    subscription.close()
    hub.stop()
    assert hub.watchers() == 0
