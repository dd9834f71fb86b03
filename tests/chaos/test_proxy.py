"""What the fault proxy does to real connections."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.chaos.place import until
from tests.chaos.proxy import Switchboard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.link import Link

WAIT_S = 0.3


class Echo:
    """Sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.got = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.got += data
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def board() -> Iterator[Switchboard]:
    with Switchboard() as board:
        yield board


@pytest.fixture
def link(board: Switchboard, echo: Echo) -> Link:
    return board.add("worker0.redis", "127.0.0.1", echo.port)


def dial(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=5)


def said(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(65536)


def said_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    while connection.recv(16):
        continue


def silent(connection: socket.socket) -> bool:
    connection.settimeout(WAIT_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


def test_it_passes_both_ways(link: Link) -> None:
    with dial(link) as connection:
        assert said(connection, b"hello") == b"hello"


def test_a_reset_reaches_the_client(board: Switchboard, link: Link) -> None:
    with dial(link) as connection:
        assert said(connection, b"x") == b"x"
        board.do(link.reset)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with dial(link) as again:
        assert said(again, b"y") == b"y"


def test_refused_is_reset_at_once(link: Link) -> None:
    link.refusing = True

    def knock() -> None:
        with dial(link) as connection:
            said_all(connection, b"x")

    # Met when it connects, when it sends or when it reads: as fast as the reset is.
    with pytest.raises(ConnectionResetError):
        knock()


def test_a_black_hole_is_silent_and_new_connections_work(board: Switchboard, link: Link, echo: Echo) -> None:
    with dial(link) as old:
        assert said(old, b"a") == b"a"
        assert board.do(lambda: link.mark(dark=True)) == 1
        old.sendall(b"lost")
        assert silent(old)
        with dial(link) as new:
            assert said(new, b"b") == b"b"
        assert echo.got == b"ab"
        board.do(link.bury)
        old.settimeout(5)
        with pytest.raises(ConnectionResetError):
            old.recv(1)


def test_one_direction_is_dropped(board: Switchboard, link: Link, echo: Echo) -> None:
    with dial(link) as connection:
        assert said(connection, b"a") == b"a"
        board.do(lambda: link.mark(deaf=True))
        connection.sendall(b"b")
        assert silent(connection)
        assert echo.got == b"ab"
        board.do(lambda: link.mark(deaf=False, mute=True))
        connection.sendall(b"c")
        assert silent(connection)
        assert echo.got == b"ab"


def test_requests_are_cut_short(board: Switchboard, link: Link, echo: Echo) -> None:
    with dial(link) as connection:
        assert said(connection, b"1") == b"1"
        board.do(lambda: link.mark(cut_after=3))
        with pytest.raises(ConnectionResetError):
            said_all(connection, b"abcdef")
    until("what passed has arrived", lambda: echo.got == b"1abc", 5)


def test_requests_wait(board: Switchboard, link: Link) -> None:
    link.delay_s = WAIT_S
    with dial(link) as connection:
        connection.sendall(b"x")
        connection.settimeout(WAIT_S / 3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(5)
        assert connection.recv(1) == b"x"


def test_http_is_answered_without_the_server(link: Link, echo: Echo) -> None:
    link.answers = [503]
    with dial(link) as connection:
        connection.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
        assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")
    assert echo.got == b""


def test_an_upload_arrives_and_its_answer_is_lost(board: Switchboard, link: Link, echo: Echo) -> None:
    link.lose_uploads = 1
    with dial(link) as connection, pytest.raises(ConnectionResetError):
        said(connection, b"PUT /x HTTP/1.1\r\n\r\nbody")
    assert echo.got.endswith(b"body")
    with dial(link) as again:
        assert said(again, b"PUT /x HTTP/1.1\r\n\r\nbody").endswith(b"body")
    assert link.lost_uploads == 1
