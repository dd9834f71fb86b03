"""Webhooks through the API, the client and the command: made, rotated, told, listed, replayed, deleted."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from replicate.client import Client as Stock
from replicate.webhook import InvalidSignatureError, Webhooks
from typer.testing import CliRunner

from latentfarm import Client
from latentfarm.cli.app import app
from latentfarm.errors import Conflict, InvalidInput, NotFound
from latentfarm.repository.webhooks import MOST
from tests.integration.hooking import spread
from tests.integration.https_server import LOOPBACK, HttpsServer, fetcher
from tests.integration.receivers import Receiver, sender, until
from tests.integration.serving import Puppet, serve
from tests.integration.test_deliverer import QUICK, delivering, receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

__all__ = ["receiver"]
SPEC = {"prompt": "a canary", "num_inference_steps": 2, "lane": "bulk"}


@pytest.fixture
def client(settings: Settings, receiver: Receiver) -> Iterator[Client]:
    """Of an API that may be told of the receiver's port, which no setting could."""
    with serve(settings, fetcher(HttpsServer(receiver.port))) as url, Client(url) as found:
        yield found


def run(client: Client, *words: str) -> str:
    done = CliRunner().invoke(
        app, ["webhooks", *words, "--api", client.webhooks.http.base_url], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def secret_of(output: str) -> str:
    """The API logs into the same output here."""
    (found,) = re.findall(r"whsec_\S+", output)
    return str(found)


def test_from_a_webhook_to_a_replay(
    client: Client, receiver: Receiver, repository: Repository, store: S3Store, settings: Settings
) -> None:
    made = client.webhooks.create(receiver.url("/ok/a"))
    assert made.secret.startswith("whsec_")
    name = str(made.id)
    assert [one.id for one in client.webhooks.all()] == [made.id]
    assert "secret" not in client.webhooks.get(name).model_dump()
    puppet = Puppet(repository, store)
    job = client.submit({**SPEC, "webhook": {"url": receiver.url("/ok/own"), "events": ["job.running"]}})
    with delivering(repository, settings, sender(receiver), QUICK):
        puppet.finish(puppet.claim())
        until("told", lambda: len(receiver.got) == 2)
        until("noted", lambda: not list(client.webhooks.deliveries(name, state="due")))
        (told,) = receiver.at("/ok/a")
        (own,) = receiver.at("/ok/own")
        assert told.verify(made.secret)["type"] == "job.succeeded"
        assert own.verify(client.webhooks.default_secret())["type"] == "job.running"
        (shown,) = client.webhooks.deliveries(name)
        assert (shown.job, shown.webhook_id, shown.state) == (job.id, told.id, "delivered")
        assert [(one.status, one.error) for one in shown.log] == [(200, None)]
        (defaults,) = client.webhooks.deliveries("default")
        assert defaults.url == receiver.url("/ok/own")
        assert client.webhooks.replay(name, str(shown.id)).id == shown.id
        until("again", lambda: len(receiver.at("/ok/a")) == 2)
        until("noted", lambda: not list(client.webhooks.deliveries(name, state="due")))
        assert run(client, "replay", name, "--since", "2026-01-01", "--state", "all").strip() == "1 due again"
        until("once more", lambda: len(receiver.at("/ok/a")) == 3)
    assert len({one.id for one in receiver.at("/ok/a")}) == 1
    assert client.webhooks.replay_range(name, since=made.created_at) == 0, "nothing was given up"


def test_the_command_makes_lists_rotates_disables_and_deletes(client: Client, receiver: Receiver) -> None:
    wish = ("--event", "job.failed", "--format", "openai")
    secret = secret_of(run(client, "create", receiver.url("/ok"), *wish))
    (made,) = client.webhooks.all()
    name = str(made.id)
    assert (made.events, made.format) == (["job.failed"], "openai")
    assert run(client, "list").split() == [name, "openai", "job.failed", "enabled", receiver.url("/ok")]
    assert secret_of(run(client, "rotate", name, "--overlap-hours", "1")) != secret
    assert client.webhooks.get(name).old_until is not None
    assert run(client, "disable", name).strip() == "disabled (asked)"
    assert json.loads(run(client, "list", "--json"))[0]["disabled_reason"] == "asked"
    with pytest.raises(Conflict, match="disabled"):
        client.webhooks.replay_range(name, since=made.created_at)
    assert run(client, "enable", name).strip() == "enabled"
    assert run(client, "deliveries", name) == ""
    assert run(client, "secret").strip() == client.webhooks.default_secret()
    run(client, "delete", name)
    assert client.webhooks.all() == []
    for ask in (client.webhooks.get, client.webhooks.delete, client.webhooks.rotate):
        with pytest.raises(NotFound):
            ask(name)


def test_the_default_webhook_stays_and_has_no_url(client: Client) -> None:
    secret = client.webhooks.default_secret()
    assert client.webhooks.get("default").url is None
    assert client.webhooks.rotate("default").secret != secret
    assert client.webhooks.default_secret() != secret
    for change in (
        lambda: client.webhooks.delete("default"),
        lambda: client.webhooks.change("default", enabled=False),
    ):
        with pytest.raises(NotFound):
            change()
    assert client.webhooks.all() == []


def test_replicates_client_reads_the_default_secret_and_validates_what_it_signs(
    client: Client, receiver: Receiver, repository: Repository, store: S3Store, settings: Settings
) -> None:
    puppet = Puppet(repository, store)
    client.submit({**SPEC, "webhook": {"url": receiver.url("/ok")}})
    with delivering(repository, settings, sender(receiver), QUICK):
        puppet.show(puppet.claim())
        until("told", lambda: len(receiver.got) == 1)
    stock = Stock(api_token="not-ours", base_url=client.webhooks.http.base_url)
    secret = stock.webhooks.default.secret()
    stock._client.close()
    got = receiver.got[0]
    Webhooks.validate(headers=got.headers, body=got.body.decode(), secret=secret, tolerance=300)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=got.headers, body=got.body.decode() + " ", secret=secret)


def test_a_tenant_has_so_many_and_only_to_servers_that_can_be_reached(
    client: Client, receiver: Receiver
) -> None:
    for number in range(MOST):
        client.webhooks.create(receiver.url(f"/ok/{number}"))
    with pytest.raises(InvalidInput, match="at most 20"):
        client.webhooks.create(receiver.url("/ok/more"))
    for url in (
        f"https://10.0.0.1:{receiver.port}/",
        "https://a.example/",
        f"http://{LOOPBACK}:{receiver.port}/",
    ):
        with pytest.raises(InvalidInput, match="url"):
            client.webhooks.change(str(client.webhooks.all()[0].id), url=url)
        with pytest.raises(InvalidInput, match=r"webhook\.url"):
            client.submit({**SPEC, "webhook": {"url": url}})


def test_deliveries_come_in_pages(
    client: Client, receiver: Receiver, repository: Repository, store: S3Store
) -> None:
    name = str(client.webhooks.create(receiver.url("/ok")).id)
    puppet = Puppet(repository, store)
    jobs = [client.submit(SPEC).id for _ in range(5)]
    puppet.show(puppet.claim())
    spread(repository)
    found = [one.job for one in client.webhooks.deliveries(name, limit=2)]
    assert sorted(found) == sorted(jobs)
    assert run(client, "deliveries", name, "-n", "3").count("job.succeeded  due") == 3
