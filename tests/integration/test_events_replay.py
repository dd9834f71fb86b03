"""Event streams that are picked up again: what was missed is told once, and what is forgotten is said to be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from api import streaming
from latentfarm.api_keys import Scope
from latentfarm.client import Client
from latentfarm.errors import ErrorClass
from latentfarm.key_ring import KeyRing
from tests.integration.serving import Puppet, serve
from tests.integration.test_events import Reader, in_time, read, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store
    from latentfarm.views import EventView


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


def test_last_event_id_replays_what_was_missed(url: str, client: Client, puppet: Puppet) -> None:
    job = client.submit({"prompt": "a", "num_images": 3}).id
    puppet.show(puppet.claim())
    whole = read(url, job)
    assert [event.type for event in whole] == ["job.running", *["image.succeeded"] * 3, "job.succeeded"]
    for place, event in enumerate(whole[:-1]):
        assert read(url, job, event.id) == whole[place + 1 :]


def test_the_last_id_may_stand_in_the_address_and_the_header_counts_before_it(
    url: str, client: Client, puppet: Puppet
) -> None:
    job = client.submit({"prompt": "a", "num_images": 3}).id
    puppet.show(puppet.claim())
    whole = read(url, job)
    assert read(url, job, after=whole[1].id) == whole[2:]
    assert read(url, job, whole[2].id, after=whole[0].id) == whole[3:]
    assert list(client.events(job, after=whole[0].id)) == whole[1:]
    wrong = httpx.get(f"{url}/v1/jobs/{job}/events", params={"after": "x"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "after")


def test_streams_that_are_cut_again_and_again_tell_each_state_once(
    url: str, client: Client, puppet: Puppet
) -> None:
    job = client.submit({"prompt": "a", "num_images": 30}).id
    claimed = puppet.claim()
    seen: list[EventView] = []
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(list, map(puppet.show, [[item] for item in claimed]))
        while not (seen and seen[-1].is_final):
            seen += read(url, job, seen[-1].id if seen else None, most=1 + len(seen) % 3)
        working.result()
    assert [event.type for event in seen] == ["job.running", *["image.succeeded"] * 30, "job.succeeded"]
    assert sorted(event.data["index"] for event in seen[1:-1]) == list(range(30))


def test_who_comes_back_too_late_is_told_how_the_job_stands_and_then_what_is_kept(
    url: str, client: Client, puppet: Puppet, repository: Repository
) -> None:
    job = client.submit({"prompt": "a", "num_images": 3}).id
    claimed = puppet.claim()
    puppet.show(claimed[:1])
    puppet.fail(claimed[1:2], ErrorClass.USER, "no")
    first, *rest = read(url, job, most=3)
    forget = text("DELETE FROM outbox WHERE job_id = :job AND id <= :id")
    repository.transact(lambda c: c.execute(forget, {"job": job, "id": rest[0].id}))
    current, *kept = read(url, job, first.id, most=2)
    assert (current.id, current.type, current.data["state"]) == (None, "job.current", "running")
    assert (current.data["remaining"], current.data["failed"]) == (1, 1)
    assert "kept no longer" in current.data["reason"]
    assert kept == rest[1:]
    # Who names an event that is kept is told nothing of the kind.
    puppet.show(claimed[2:])
    assert [event.type for event in read(url, job, rest[-1].id)] == ["image.succeeded", "job.failed"]


def test_of_a_job_whose_events_are_all_forgotten_the_state_is_told(
    url: str, client: Client, puppet: Puppet, repository: Repository
) -> None:
    job = client.submit({"prompt": "a"}).id
    claimed = puppet.claim()
    repository.transact(lambda c: c.execute(text("DELETE FROM outbox")))
    assert [event.type for event in read(url, job, most=1)] == ["job.current"]
    puppet.show(claimed)
    repository.transact(lambda c: c.execute(text("DELETE FROM outbox")))
    # Its last event may have been the one that was named, or one behind it.
    assert [event.type for event in read(url, job, 1)] == ["job.current", "job.succeeded"]


def test_a_stream_ends_with_its_key(
    settings: Settings, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PING_S", 0.1)
    ring = KeyRing(repository)
    key, secret = ring.create(tenant="a", name="reader", scopes=[Scope.SUBMIT, Scope.READ])
    with (
        serve(settings.model_copy(update={"require_keys": True})) as url,
        Client(url, key=secret) as client,
    ):
        job, headers = client.submit({"prompt": "a"}).id, {"Authorization": f"Bearer {secret}"}
        with httpx.stream("GET", f"{url}/v1/jobs/{job}/events", headers=headers, timeout=30) as answer:
            lines = in_time(answer.iter_lines())
            assert [next(lines) for _ in range(4)] == ["retry: 1000", "", ": ping", ""]
            ring.revoke(key.prefix)
            told = [line for line in lines if line not in ("", ": ping")]
        assert told == [": this API key is expired or revoked"]
        assert httpx.get(f"{url}/v1/jobs/{job}/events", headers=headers).status_code == 401


def test_a_reader_that_has_seen_the_end_is_told_not_to_come_back(
    url: str, client: Client, puppet: Puppet
) -> None:
    job = client.submit({"prompt": "a"}).id
    puppet.show(puppet.claim())
    last = read(url, job)[-1].id
    answer = httpx.get(f"{url}/v1/jobs/{job}/events", headers={"Last-Event-ID": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


def test_the_end_is_told_after_the_outbox_forgot_it(
    url: str, client: Client, puppet: Puppet, repository: Repository
) -> None:
    job = client.submit({"prompt": "a"}).id
    puppet.show(puppet.claim())
    repository.transact(lambda c: c.execute(text("DELETE FROM outbox")))
    assert [(event.id, event.type) for event in read(url, job)] == [(None, "job.succeeded")]


def test_a_wrong_last_event_id_is_refused(url: str, client: Client) -> None:
    job = client.submit({"prompt": "a"}).id
    answer = httpx.get(f"{url}/v1/jobs/{job}/events", headers={"Last-Event-ID": "one"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


def test_a_reader_from_the_future_is_told_how_things_stand_and_what_follows(
    url: str, client: Client, puppet: Puppet
) -> None:
    job = client.submit({"prompt": "a"}).id
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, url, job, 10**17)
        # While somebody else watches the same job from the beginning.
        reader = Reader(client, job)
        until(lambda: "latentfarm_event_streams 2.0" in httpx.get(f"{url}/metrics").text)
        puppet.show(puppet.claim())
        # It claims to have seen what never was, as after the database was put back to an earlier state.
        types = [event.type for event in reading.result(30)]
        assert types == ["job.current", "job.running", "image.succeeded", "job.succeeded"]
    reader.join(10)
    assert reader.types == ["job.running", "image.succeeded", "job.succeeded"]
