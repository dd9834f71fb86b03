"""Receivers of webhooks: a real HTTPS server that keeps what it was sent and answers as its paths say."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from standardwebhooks import Webhook

from latentfarm.webhooks.sending import Sender
from tests.integration.https_server import HOST, LOOPBACK, authority, trusting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Got:
    """One request.

    Attributes:
        headers: by name in lower case.
        taken: whether it was answered 200.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    taken: bool

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> dict[str, Any]:
        """The payload, as the reference library takes it; it raises where it does not."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """A server whose paths say how it answers.

    `/ok...` 200; `/<number>...` that status; `/redirect...` 302 to itself; `/hang...` nothing; `/lie...` 200 with a
    length that is not true; `/drop...` a closed connection; `/long...` a head without an end; `/mixed...` one of these, by
    the id, and 200 when that comes again. With `-then-ok` at the end of the first part, the
    first `fails` requests of each `webhook-id` are answered so, and the next with 200. `?after=...` is a `Retry-After`.
    """

    port: int
    got: list[Got] = field(default_factory=list)
    fails: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)
    judge: Callable[[Got], None] | None = None
    taken_ids: set[str] = field(default_factory=set)
    manners: Counter[str] = field(default_factory=Counter)

    def url(self, path: str = "/ok", host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Got]:
        with self.lock:
            return [one for one in self.got if one.path == path]

    def ids(self) -> set[str]:
        with self.lock:
            return {one.id for one in self.got}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Nobody comes by GET, unless a redirect was followed."""
        self._receive("GET")

    def do_POST(self) -> None:
        self._receive("POST")

    def _receive(self, method: str) -> None:
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        manner = self.path.partition("?")[0].strip("/").split("/")[0]
        with receiver.lock:
            key = f"{self.path} {headers.get('webhook-id')}"
            if manner.endswith("-then-ok"):
                manner = manner.removesuffix("-then-ok") if receiver.seen[key] < receiver.fails else "ok"
            if manner == "mixed":
                manner = "ok" if receiver.seen[key] else drawn(key)
            receiver.seen[key] += 1
            receiver.manners[manner] += 1
            taken = manner in ("ok", "lie", "200", "204") and method == "POST"
            got = Got(self.path, headers, body, taken)
            receiver.got.append(got)
        if receiver.judge is not None:
            receiver.judge(got)
        self.close_connection = True
        self._answer(manner, receiver)
        if taken:
            with receiver.lock:
                receiver.taken_ids.add(got.id)

    def _answer(self, manner: str, receiver: Receiver) -> None:
        match manner:
            case "hang":
                receiver.stopping.wait(20)
            case "drop":
                pass
            case "lie":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")
            case "long":
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    for _ in range(5_000):
                        self.wfile.write(b"X: " + b"y" * 5_000 + b"\r\n")
            case "redirect":
                self._head(302, f"Location: {receiver.url(f'/ok/redirected{self.path}')}\r\n")
            case _:
                after = unquote(self.path.partition("?after=")[2])
                more = f"Retry-After: {after}\r\n" if after else ""
                self._head(200 if manner == "ok" else int(manner), more)

    def _head(self, status: int, more: str = "") -> None:
        self.wfile.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 2\r\n{more}\r\nok".encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, context: ssl.SSLContext, receiver: Receiver) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.context = context
        self.receiver = receiver

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In a thread of the request's own: a handshake that hangs holds nobody up."""
        request.settimeout(60)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Deliverers that are killed leave connections behind."""


MANNERS = (
    ("ok",) * 40
    + ("500",) * 15
    + ("redirect",) * 15
    + ("drop",) * 10
    + ("lie",) * 10
    + ("long",) * 5
    + ("hang",) * 5
)


def drawn(key: str) -> str:
    """How a receiver answers the first try of a delivery, the same for the same one."""
    return MANNERS[zlib.crc32(key.encode()) % len(MANNERS)]


@contextlib.contextmanager
def receiving(judge: Callable[[Got], None] | None = None) -> Iterator[Receiver]:
    """A receiver on a free loopback port, for every name under `example`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(HOST, "*.example").configure_cert(context)
    receiver = Receiver(0, judge=judge)
    with _Server(context, receiver) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.stopping.set()
            server.shutdown()
            thread.join()


def sender(receiver: Receiver, **changed: object) -> Sender:
    """As the farm's, but for the address, the port and the authority of the test's receiver."""
    values: dict[str, object] = {
        "resolver": lambda _host, _port: [LOOPBACK],
        "allowed": lambda address: address == LOOPBACK,
        "ports": frozenset({receiver.port}),
        "context": trusting(),
    }
    return Sender(**{**values, **changed})  # type: ignore[arg-type]


def until(what: str, true: Any, limit_s: float = 30.0) -> None:
    """Waits for a condition."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() < started + limit_s, what
        time.sleep(0.02)
