"""URLs of strangers reach nothing inside: a corpus, a server that counts, and names that change their minds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from latentfarm.errors import InvalidInput
from latentfarm.inputs.addresses import is_public
from latentfarm.inputs.fetching import Fetcher
from tests.corpus.ssrf import Metadata, corpus, metadata_server, resolve, urls
from tests.integration.https_server import LOOPBACK, HttpsServer, fetcher, soon
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.settings import Settings

ROUNDS = 200


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with metadata_server() as server:
        yield server


class Watch:
    """Every address that this process connects to while it is open."""

    def __init__(self) -> None:
        self.open = False
        self.seen: list[Any] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.open and event == "socket.connect":
            self.seen.append(arguments[1])


@pytest.fixture(scope="module")
def hooked() -> Watch:
    """An audit hook cannot be taken away again; this one sleeps when it is not needed."""
    watch = Watch()
    sys.addaudithook(watch)
    return watch


@pytest.fixture
def connects(hooked: Watch) -> Iterator[list[Any]]:
    hooked.seen.clear()
    hooked.open = True
    yield hooked.seen
    hooked.open = False


def guarded(metadata: Metadata, **changed: Any) -> Fetcher:
    """The farm's own, but for names, and one port more: with only 443 open, the port alone would hold."""
    return Fetcher(**{"resolver": resolve, "ports": frozenset({443, metadata.port}), **changed})


def outcome(fetcher: Fetcher, url: str, seconds: float = 5.0) -> str:
    try:
        fetcher.fetch("image", url, deadline=soon(seconds))
    except InvalidInput as error:
        return f"{error.field}: {error.message}"
    return "fetched"


def test_the_corpus_is_large_and_has_no_twins() -> None:
    found = [url for _, url in urls(1)]
    assert len(found) == len(set(found)) >= 120


def test_no_url_of_the_corpus_connects_to_anything(metadata: Metadata, connects: list[Any]) -> None:
    fetcher = guarded(metadata)
    fetched = [url for _, url in urls(metadata.port) if not outcome(fetcher, url).startswith("image: ")]
    assert (fetched, connects, metadata.hits) == ([], [], [])


def test_without_its_guard_the_same_corpus_gets_inside(metadata: Metadata) -> None:
    """Else the test above would hold nothing."""
    open_to_loopback = guarded(
        metadata, allowed=lambda address: address in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    )
    for _, url in urls(metadata.port):
        outcome(open_to_loopback, url, 1.0)
    assert len(metadata.hits) >= 10


def test_the_api_refuses_each_and_names_the_field(metadata: Metadata, settings: Settings) -> None:
    wrong = {}
    with serve(settings, guarded(metadata)) as base, httpx.Client(base_url=base, timeout=30) as http:
        for _, url in urls(metadata.port):
            answer = http.post("/v1/jobs", json={"prompt": "a", "image": url})
            complaint = (answer.json().get("errors") or [{}])[0]
            if (answer.status_code, complaint.get("field")) != (422, "image"):
                wrong[url] = answer.text
        assert http.get("/v1/jobs").json()["data"] == []
    assert (wrong, metadata.hits) == ({}, [])


def test_an_address_of_the_network_is_told_to_nobody(metadata: Metadata) -> None:
    """What a name leads to inside would describe the farm's own network."""
    fetcher = guarded(metadata)
    for name, addresses in corpus()["names"].items():
        told = outcome(fetcher, f"https://{name}:{metadata.port}/").replace(name, "")
        assert not any(address in told for address in addresses), (name, told)


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_a_public_server_sends_nobody_inside(
    https_server: HttpsServer, metadata: Metadata, status: str
) -> None:
    ours = fetcher(
        https_server,
        ports=frozenset({443, https_server.port, metadata.port}),
        allowed=lambda address: is_public(address) or address == LOOPBACK,
    )
    for place in corpus()["redirects"]:
        location = place.replace("{port}", str(metadata.port))
        url = https_server.put(
            "/x", b"", status=status, head=f"Location: {location}\r\nRefresh: 0; url={location}\r\n"
        )
        assert "redirects" in outcome(ours, url)
    assert metadata.hits == []
    assert len(https_server.requests) == len(corpus()["redirects"])


def test_a_name_that_alternates_never_leads_inside(
    https_server: HttpsServer, metadata: Metadata, connects: list[Any]
) -> None:
    """The public server stands at 127.0.0.1 here, and everything inside at 127.0.0.2."""
    answers = [[LOOPBACK], ["127.0.0.2"]]
    asked = []

    def alternating(host: str, _port: int) -> list[str]:
        asked.append(host)
        return answers[(len(asked) - 1) % 2]

    url = https_server.put("/x", b"picture")
    ours = fetcher(
        https_server,
        resolver=alternating,
        ports=frozenset({https_server.port}),
        allowed=lambda address: is_public(address) or address == LOOPBACK,
    )
    told = [outcome(ours, url) for _ in range(ROUNDS)]
    assert told.count("fetched") == ROUNDS / 2
    assert sum("not public" in each for each in told) == ROUNDS / 2
    # One look-up for each, and no connection but to what was looked at.
    assert len(asked) == ROUNDS
    assert {place[0] for place in connects} == {LOOPBACK}
    assert metadata.hits == []
