"""Requests that are bombs, at the level of sockets: each is answered or cut off, and nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from api.heads import PromptHeads
from tests.corpus.requests import Bomb, bombs
from tests.integration.hostile import GROWTH_BYTES, Hostile, hostile
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.fixture
def api(environment: dict[str, str], repository: Repository) -> Iterator[Hostile]:
    with hostile(environment, repository) as found:
        yield found


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


def status(url: str, bomb: Bomb) -> int:
    """What comes back: a status; 0 when the connection was closed without one."""
    with connect(url) as connection:

        def send() -> None:
            # It stops when the other end has heard enough.
            with contextlib.suppress(OSError):
                for piece in bomb.pieces():
                    connection.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n" not in answer and (piece := connection.recv(65_536)):
                answer += piece
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        sender.join()
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_forty_bombs_get_their_answers_and_memory_stays(
    api: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    url = str(api.http.base_url)
    thrown = bombs(api.keys["admin"])
    assert len(thrown) == 40
    before = api.rss()
    wrong = {bomb.name: got for bomb in thrown if (got := status(url, bomb)) not in bomb.statuses}
    assert wrong == {}
    assert api.rss() - before <= GROWTH_BYTES
    assert api.http.get("/healthz").status_code == 200
    # Whoever hangs up early fills no log with tracebacks.
    assert "request_failed" not in capfd.readouterr().err


def closed(connection: socket.socket) -> bool:
    """Whether the other end closes it without a word; waits for that."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_heads_that_do_not_end_are_cut_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromptHeads, "HEAD_S", 0.3)
    with serve(settings) as url:
        beginnings = (b"", b"GET", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ")
        for beginning in beginnings:
            with connect(url) as connection:
                connection.sendall(beginning)
                assert closed(connection), beginning
        with connect(url) as connection:
            # The second request of a connection is no other than the first one.
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            connection.sendall(b"GET /healthz")
            rest = connection.recv(65_536)
            assert rest == b"" or closed(connection)


def test_a_request_may_take_longer_than_its_head(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromptHeads, "HEAD_S", 0.3)
    with serve(settings) as url, httpx.Client(base_url=url, timeout=30) as http:
        answer = http.post("/v1/jobs", json={"prompt": "a"}, headers={"Prefer": "wait=1"})
        assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")


@pytest.mark.long
def test_a_body_that_drips_is_answered_in_bounded_time(api: Hostile) -> None:
    with connect(str(api.http.base_url)) as connection:
        head = (
            "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
        )
        connection.sendall(f"{head}Authorization: Bearer {api.keys['admin']}\r\n\r\n".encode())
        connection.settimeout(1)
        answer = b""
        for _ in range(60):
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65_536)
                break
            connection.sendall(b" ")
    assert answer.startswith(b"HTTP/1.1 503")
