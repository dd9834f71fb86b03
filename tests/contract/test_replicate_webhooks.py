"""Webhooks of predictions, through to a real HTTPS receiver, judged by what the stock `replicate` client validates."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from replicate.client import Client
from replicate.webhook import InvalidSignatureError, Webhooks

from latentfarm.errors import ErrorClass
from latentfarm.inputs.fetching import Fetcher
from latentfarm.prediction_events import predictor
from latentfarm.registry import load_registry
from scheduler.deliverer import Deliverer, Terms
from tests.integration.hooking import hook, run
from tests.integration.https_server import LOOPBACK, trusting
from tests.integration.receivers import Receiver, receiving, sender, until
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

TINY = "latentfarm/tiny"
INPUT = {"prompt": "a canary", "width": 64, "height": 64, "seed": 5}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def client(settings: Settings, receiver: Receiver) -> Iterator[Client]:
    """Of an API that lets receivers be on a port of loopback, which no setting does."""
    fetcher = Fetcher(
        resolver=lambda _host, _port: [LOOPBACK],
        allowed=lambda address: address == LOOPBACK,
        ports=frozenset({receiver.port}),
        context=trusting(),
    )
    with serve(settings, fetcher) as url:
        client = Client(api_token="any", base_url=f"{url}/replicate")
        with client._client:
            yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


@contextmanager
def delivering(repository: Repository, settings: Settings, receiver: Receiver, url: str) -> Iterator[None]:
    """A deliverer as the scheduler starts it, but for its way out."""
    named = settings.model_copy(update={"api_url": url})
    made = Deliverer(
        repository,
        sender(receiver),
        settings.database_url,
        api_url=url,
        terms=Terms(try_s=5.0, lease_s=15.0, plan=(0.05,) * 5),
        predict=predictor(named, load_registry(settings.models_file)),
    )
    made.start()
    try:
        yield
    finally:
        made.stop()
        made.join(10)


def base(client: Client) -> str:
    return str(client._client.base_url).removesuffix("/replicate/")


def all_of(puppet: Puppet, images: int) -> list[Claimed]:
    found: list[Claimed] = []

    def here() -> bool:
        found.extend(puppet.claim())
        return len(found) >= images

    until("claimed", here)
    return sorted(found, key=lambda item: item.ordinal)


def told(client: Client, receiver: Receiver, number: int) -> list[dict[str, Any]]:
    """So many predictions, in the order in which they came, each with a signature that the client takes."""
    until("told", lambda: len(receiver.got) >= number)
    secret = client.webhooks.default.secret()
    for got in receiver.got:
        Webhooks.validate(headers=got.headers, body=got.body.decode(), secret=secret, tolerance=300)
    assert len(receiver.got) == number
    return [got.json() for got in receiver.got]


def test_a_prediction_tells_of_its_start_and_of_its_end_with_links(
    client: Client, settings: Settings, repository: Repository, puppet: Puppet, receiver: Receiver
) -> None:
    made = client.models.predictions.create(TINY, {**INPUT, "num_outputs": 2}, webhook=receiver.url("/ok/a"))
    with delivering(repository, settings, receiver, base(client)):
        claimed = all_of(puppet, 2)
        until("started", lambda: receiver.got)
        files = puppet.finish(claimed)
        started, ended = told(client, receiver, 2)
    assert (started["id"], started["status"], started["output"]) == (made.id, "processing", None)
    assert (ended["id"], ended["status"], ended["error"]) == (made.id, "succeeded", None)
    assert [httpx.get(link).content for link in ended["output"]] == [files[0], files[1]]
    # What was told is what is shown, but for the links, which are fresh.
    shown = json.loads(httpx.get(ended["urls"]["get"]).text)
    assert {**ended, "output": None} == {**shown, "output": None}


def test_a_filter_decides_what_is_told(
    client: Client, settings: Settings, repository: Repository, puppet: Puppet, receiver: Receiver
) -> None:
    for events in (["completed"], ["output", "logs"], ["start"]):
        url = receiver.url(f"/ok/{events[0]}")
        client.models.predictions.create(TINY, INPUT, webhook=url, webhook_events_filter=events)
    with delivering(repository, settings, receiver, base(client)):
        first, *others = all_of(puppet, 3)
        puppet.finish(others)
        puppet.fail([first], ErrorClass.USER, "cannot be drawn")
        shown = told(client, receiver, 3)
    assert {got.path for got in receiver.got} == {"/ok/completed", "/ok/output", "/ok/start"}
    assert {one["status"] for one in shown} <= {"processing", "succeeded", "failed"}
    assert len({one["id"] for one in shown}) == 3
    for one in shown:
        assert ("cannot be drawn" in (one["error"] or "")) == (one["status"] == "failed")


def test_what_was_changed_on_the_way_is_refused(
    client: Client, settings: Settings, repository: Repository, puppet: Puppet, receiver: Receiver
) -> None:
    made = client.models.predictions.create(
        TINY, INPUT, webhook=receiver.url(), webhook_events_filter=["completed"]
    )
    with delivering(repository, settings, receiver, base(client)):
        made.cancel()
        (shown,) = told(client, receiver, 1)
    assert (shown["status"], shown["output"]) == ("canceled", None)
    (got,) = receiver.got
    secret = client.webhooks.default.secret()
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=got.headers, body=got.body.decode() + " ", secret=secret)
    assert puppet.claim() == []


def test_a_tenants_own_webhook_may_be_told_in_these_words(
    settings: Settings, repository: Repository, receiver: Receiver
) -> None:
    _, secret = hook(repository, receiver, form="replicate")
    with delivering(repository, settings, receiver, "https://farm.example"):
        job_id = run(repository)
        until("told", lambda: receiver.got)
    shown = receiver.got[0].verify(secret)
    assert (shown["id"], shown["input"]["prompt"]) == (str(job_id), "a canary")
    assert shown["output"][0].startswith("https://farm.example/replicate/v1/outputs/")


def test_a_url_that_nothing_can_be_sent_to_is_refused(client: Client) -> None:
    for url in ("http://hooks.example/", "https://127.0.0.1/", "https://hooks.example:22/", "no url"):
        body = {"input": INPUT, "webhook": url}
        answer = client._client.post(f"/v1/models/{TINY}/predictions", json=body)
        assert (answer.status_code, answer.json()["invalid_fields"][0]["field"]) == (422, "webhook"), url
