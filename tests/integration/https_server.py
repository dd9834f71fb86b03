"""A real HTTPS server that misbehaves as it is told, and a fetcher that may reach it.

Its certificate is for `pictures.example`, from an authority that lives as long as the test process.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import trustme

from latentfarm.inputs.fetching import Fetcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "pictures.example"
LOOPBACK = "127.0.0.1"


@dataclass
class HttpsServer:
    """Attributes:
    answers: by path, what is sent: whole bytes, or pieces with a pause before each.
    requests: heads that came in.
    names: server names that clients asked for.
    connections: TCP connections that came in, with or without a handshake.
    """

    port: int
    answers: dict[str, bytes | list[tuple[float, bytes]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str) -> str:
        return f"https://{HOST}:{self.port}{path}"

    def put(self, path: str, body: bytes, *, status: str = "200 OK", head: str = "") -> str:
        """Serves a body under a path, and gives its URL."""
        length = "" if "Transfer-Encoding" in head else f"Content-Length: {len(body)}\r\n"
        self.answers[path] = f"HTTP/1.1 {status}\r\n{length}{head}\r\n".encode() + body
        return self.url(path)


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the server."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def fetcher(server: HttpsServer, **changed: object) -> Fetcher:
    """As the farm's, but for the address, the port and the authority of the test's server."""
    values: dict[str, object] = {
        "resolver": lambda _host, _port: [LOOPBACK],
        "allowed": lambda address: address == LOOPBACK,
        "ports": frozenset({server.port}),
        "context": trusting(),
    }
    return Fetcher(**{**values, **changed})  # type: ignore[arg-type]


@contextlib.contextmanager
def serve_https() -> Iterator[HttpsServer]:
    """A server on a free loopback port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(HOST).configure_cert(context)
    with socket.create_server((LOOPBACK, 0)) as listening:
        server = HttpsServer(listening.getsockname()[1])
        context.sni_callback = lambda _socket, name, _context: server.names.append(name)
        stopping = threading.Event()
        thread = threading.Thread(target=_accept, args=(listening, context, server, stopping))
        thread.start()
        try:
            yield server
        finally:
            stopping.set()
            with contextlib.suppress(OSError):
                socket.create_connection((LOOPBACK, server.port), timeout=5).close()
            thread.join()


def _accept(
    listening: socket.socket, context: ssl.SSLContext, server: HttpsServer, stopping: threading.Event
) -> None:
    workers: list[threading.Thread] = []
    while True:
        plain, _ = listening.accept()
        if stopping.is_set():
            plain.close()
            break
        server.connections += 1
        workers.append(threading.Thread(target=_talk, args=(plain, context, server, stopping.wait)))
        workers[-1].start()
    for worker in workers:
        worker.join()


def _talk(
    plain: socket.socket, context: ssl.SSLContext, server: HttpsServer, pause: Callable[[float], bool]
) -> None:
    plain.settimeout(20)
    with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(65_536)):
            head += piece
        server.requests.append(head.decode())
        answer = server.answers.get(head.split()[1].decode(), b"HTTP/1.1 404 Not Found\r\n\r\n")
        for wait_s, piece in [(0.0, answer)] if isinstance(answer, bytes) else answer:
            if wait_s and pause(wait_s):
                return
            connection.sendall(piece)
        connection.unwrap()
    plain.close()


def soon(seconds: float = 10.0) -> float:
    """A deadline."""
    return time.monotonic() + seconds
