"""The guarded fetcher against a real HTTPS server: what it takes, and what it never reaches."""

from __future__ import annotations

import ssl
import threading
import time

import pytest

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.inputs import fetching
from latentfarm.inputs.addresses import is_public
from latentfarm.inputs.fetching import Fetcher
from latentfarm.references import MAX_INPUT_BYTES
from latentfarm.webhooks.slots import OF_TENANT
from tests.integration.https_server import HOST, LOOPBACK, HttpsServer, fetcher, soon


def test_a_file_is_fetched_with_the_right_names(https_server: HttpsServer) -> None:
    url = https_server.put("/a%20b?c=d", b"picture")
    assert fetcher(https_server).fetch("image", url, deadline=soon()) == b"picture"
    assert https_server.names == [HOST]
    head = https_server.requests[0].split("\r\n")
    assert head[0] == "GET /a%20b?c=d HTTP/1.1"
    assert f"Host: {HOST}:{https_server.port}" in head
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in head)


def test_a_chunked_answer_is_fetched(https_server: HttpsServer) -> None:
    url = https_server.put("/x", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", head="Transfer-Encoding: chunked\r\n")
    assert fetcher(https_server).fetch("image", url, deadline=soon()) == b"abcde"


def test_the_farms_own_fetcher_reaches_no_loopback(https_server: HttpsServer) -> None:
    """As it is made in production, but for port and authority: the address check alone must hold."""
    url = https_server.put("/x", b"picture")
    guarded = fetcher(https_server, allowed=is_public)
    with pytest.raises(InvalidInput, match="not public"):
        guarded.fetch("image", url, deadline=soon())
    assert https_server.connections == 0


@pytest.mark.parametrize("port", [80, 8443, 22, 0, 65_535])
def test_the_farms_own_fetcher_takes_one_port(port: int) -> None:
    with pytest.raises(InvalidInput, match="port"):
        Fetcher().fetch("image", f"https://{HOST}:{port}/", deadline=soon())


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://[::1]/", "https://[::ffff:169.254.169.254]/", "https://10.0.0.1/x"]
)
def test_the_farms_own_fetcher_takes_no_private_address(url: str) -> None:
    with pytest.raises(InvalidInput, match="not public"):
        Fetcher().fetch("image", url, deadline=soon())


def test_one_private_address_among_others_is_enough_to_refuse(https_server: HttpsServer) -> None:
    url = https_server.put("/x", b"picture")
    mixed = fetcher(https_server, resolver=lambda *_: [LOOPBACK, "169.254.169.254"])
    with pytest.raises(InvalidInput, match="not public") as caught:
        mixed.fetch("image", url, deadline=soon())
    assert "169" not in str(caught.value)
    assert https_server.connections == 0


def test_a_name_is_resolved_once_so_that_it_cannot_change(https_server: HttpsServer) -> None:
    """DNS rebinding: the second answer of such a server leads inside."""
    answers = [[LOOPBACK], ["127.0.0.2"]]
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    url = https_server.put("/x", b"picture")
    assert fetcher(https_server, resolver=rebinding).fetch("image", url, deadline=soon()) == b"picture"
    assert asked == [HOST]


def test_names_that_nobody_answers_for_hold_up_no_others(https_server: HttpsServer) -> None:
    """As many as a tenant may have tried at once, twice over: a look-up goes on after its time is over."""
    answered = threading.Event()

    def silent(host: str, _port: int) -> list[str]:
        if host != HOST:
            answered.wait(30)
        return [LOOPBACK]

    url, asking = https_server.put("/x", b"picture"), fetcher(https_server, resolver=silent)
    port = https_server.port
    try:
        for number in range(2 * OF_TENANT):
            with pytest.raises(ServiceUnavailable):
                asking.fetch("image", f"https://{number}.silent.example:{port}/", deadline=soon(0.01))
        assert asking.fetch("image", url, deadline=soon(5)) == b"picture"
    finally:
        answered.set()


def test_a_second_address_is_tried_when_the_first_is_closed(https_server: HttpsServer) -> None:
    url = https_server.put("/x", b"picture")
    two = fetcher(https_server, resolver=lambda *_: ["127.0.0.2", LOOPBACK], allowed=lambda _: True)
    assert two.fetch("image", url, deadline=soon()) == b"picture"


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P", "304 N", "300 M"]
)
def test_redirects_are_not_followed(https_server: HttpsServer, status: str) -> None:
    https_server.put("/inside", b"secret")
    url = https_server.put("/x", b"", status=status, head=f"Location: {https_server.url('/inside')}\r\n")
    with pytest.raises(InvalidInput, match="redirects"):
        fetcher(https_server).fetch("image", url, deadline=soon())
    assert len(https_server.requests) == 1


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "206 Partial", "204 No Content"])
def test_other_answers_are_no_files(https_server: HttpsServer, status: str) -> None:
    with pytest.raises(InvalidInput, match=status[:3]):
        fetcher(https_server).fetch("image", https_server.put("/x", b"", status=status), deadline=soon())


def test_too_many_bytes_are_refused_before_they_come(https_server: HttpsServer) -> None:
    https_server.answers["/x"] = f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_INPUT_BYTES + 1}\r\n\r\n".encode()
    with pytest.raises(InvalidInput, match="too large"):
        fetcher(https_server).fetch("image", https_server.url("/x"), deadline=soon())


def test_too_many_bytes_are_refused_while_they_come(https_server: HttpsServer) -> None:
    body = bytes(MAX_INPUT_BYTES + 1)
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    url = https_server.put("/x", chunk, head="Transfer-Encoding: chunked\r\n")
    with pytest.raises(InvalidInput, match="too large"):
        fetcher(https_server).fetch("image", url, deadline=soon())
    assert (
        len(fetcher(https_server).fetch("image", https_server.put("/y", body[1:]), deadline=soon()))
        == MAX_INPUT_BYTES
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"SSH-2.0-server\r\n",
        b"",
    ],
    ids=["short", "chunk", "no number", "headers", "long header", "gzip", "ssh", "nothing"],
)
def test_broken_answers_are_refused(https_server: HttpsServer, answer: bytes) -> None:
    https_server.answers["/x"] = answer
    with pytest.raises(InvalidInput, match="image"):
        fetcher(https_server).fetch("image", https_server.url("/x"), deadline=soon())


@pytest.mark.parametrize("where", ["head", "body", "silence"])
def test_a_server_that_drips_is_left_at_the_deadline(https_server: HttpsServer, where: str) -> None:
    """Each byte comes within the limit of one read; all together must not take longer than agreed."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    drips = [(0.1, b"x")] * 1000
    https_server.answers["/x"] = {
        "head": [(0.0, b"HTTP/1.1 200 OK\r\nX: "), *drips],
        "body": [(0.0, head), *drips],
        "silence": [(60.0, head)],
    }[where]
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="too slow"):
        fetcher(https_server).fetch("image", https_server.url("/x"), deadline=soon(0.8))
    assert time.monotonic() - started < 5


def test_one_read_has_a_limit_of_its_own(https_server: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "READ_S", 0.3)
    https_server.answers["/x"] = [(30.0, b"")]
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="too slow"):
        fetcher(https_server).fetch("image", https_server.url("/x"), deadline=soon(60))
    assert time.monotonic() - started < 10


def test_a_certificate_for_another_name_is_refused(https_server: HttpsServer) -> None:
    url = f"https://other.example:{https_server.port}/x"
    with pytest.raises(InvalidInput, match="not to be trusted"):
        fetcher(https_server).fetch("image", url, deadline=soon())
    assert https_server.requests == []


def test_an_authority_that_nobody_knows_is_refused(https_server: HttpsServer) -> None:
    with pytest.raises(InvalidInput, match="not to be trusted"):
        fetcher(https_server, context=ssl.create_default_context()).fetch(
            "image", https_server.put("/x", b"picture"), deadline=soon()
        )
    assert https_server.requests == []


def test_names_without_addresses_are_refused(https_server: HttpsServer) -> None:
    def unknown(*_: object) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(InvalidInput, match="no host"):
        fetcher(https_server, resolver=unknown).fetch("image", https_server.url("/x"), deadline=soon())
    with pytest.raises(InvalidInput, match="not public"):
        fetcher(https_server, resolver=lambda *_: []).fetch("image", https_server.url("/x"), deadline=soon())


def test_a_resolver_that_hangs_holds_nobody_up(https_server: HttpsServer) -> None:
    slow = fetcher(https_server, resolver=lambda *_: time.sleep(3) or [LOOPBACK])  # type: ignore[func-returns-value]
    with pytest.raises(ServiceUnavailable, match="resolver"):
        slow.fetch("image", https_server.url("/x"), deadline=soon(0.2))


def test_proxies_of_the_environment_are_not_used(
    https_server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (
        fetcher(https_server).fetch("image", https_server.put("/x", b"picture"), deadline=soon())
        == b"picture"
    )
