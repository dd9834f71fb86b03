"""Fetches a stranger's https URL, and nothing that is not public.

The name is resolved once, every address is checked, and the connection goes to a checked address: no
second look-up can lead elsewhere. Redirects are not followed. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import TYPE_CHECKING, cast

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.inputs.addresses import is_public
from latentfarm.inputs.target import HTTPS, Target, read_target
from latentfarm.references import MAX_INPUT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READ_S = 4.0
"""Seconds for one read, the handshake, or one connection."""
MOST_TRIED = 4
"""Addresses of one name that are tried."""
RESOLVERS = 4
_CHUNK = 65_536
_ACCEPT = "image/png, image/jpeg, image/webp"


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Fetches files of at most 20 MiB. Thread-safe.

    Args:
        resolver: host and port -> addresses. This, `allowed`, `ports` and `context` are parameters for
            tests, which have no public server; the farm itself uses the defaults, and no setting leads here.
        allowed: whether an address may be connected to.
        ports: those that a URL may name.
        context: who is trusted; the system's authorities when absent.
    """

    def __init__(
        self,
        *,
        resolver: Callable[[str, int], Sequence[str]] = resolve,
        allowed: Callable[[str], bool] = is_public,
        ports: frozenset[int] = frozenset({HTTPS}),
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._ports = ports
        self._context = context or ssl.create_default_context()
        self._context.set_alpn_protocols(["http/1.1"])
        # The system's resolver cannot be given a deadline; a thread can be left behind.
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")

    def fetch(self, field: str, url: str, *, deadline: float) -> bytes:
        """The bytes behind a URL.

        Args:
            field: of the spec, for errors.
            deadline: on the clock of `time.monotonic`, for everything together.

        Raises:
            InvalidInput: the URL is not allowed, leads to what is not public, or did not give a file.
        """
        target = read_target(field, url)
        if target.port not in self._ports:
            raise InvalidInput(field, f"port {target.port} is not allowed", "443")
        addresses = self._addresses(field, target, deadline)
        try:
            with self._connect(addresses, target, deadline) as connection:
                return _exchange(field, connection, target, deadline)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or "the handshake failed"
            raise InvalidInput(field, f"{target.host} is not to be trusted: {reason}") from error
        except TimeoutError as error:
            raise InvalidInput(
                field, f"{target.host} is too slow", "a faster server, or an upload"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise InvalidInput(field, f"{target.host} did not send a file") from error

    def _addresses(self, field: str, target: Target, deadline: float) -> list[str]:
        """All addresses of the host, each of them checked."""
        try:
            looking = self._resolvers.submit(self._resolver, target.host, target.port)
            found = looking.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError as error:
            looking.cancel()
            raise ServiceUnavailable("the resolver does not answer") from error
        except (OSError, UnicodeError) as error:
            raise InvalidInput(field, f"there is no host {target.host}") from error
        # One address that is not public makes the name untrustworthy. The address is not told: it would
        # describe the farm's own network.
        if not found or not all(self._allowed(address) for address in found):
            raise InvalidInput(field, f"{target.host} is not public", "a server on the internet")
        return list(found[:MOST_TRIED])

    def _connect(self, addresses: Sequence[str], target: Target, deadline: float) -> ssl.SSLSocket:
        last: OSError = TimeoutError()
        for address in addresses:
            try:
                plain = socket.create_connection((address, target.port), timeout=_left(deadline))
            except OSError as error:
                last = error
                continue
            try:
                plain.settimeout(_left(deadline))
                return self._context.wrap_socket(plain, server_hostname=target.host)
            except BaseException:
                plain.close()
                raise
        raise last


def _exchange(field: str, connection: ssl.SSLSocket, target: Target, deadline: float) -> bytes:
    request = (
        f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: latentfarm\r\n"
        f"Accept: {_ACCEPT}\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )
    connection.settimeout(_left(deadline))
    connection.sendall(request.encode("ascii"))
    response = http.client.HTTPResponse(cast("socket.socket", _Timed(connection, deadline)), method="GET")
    try:
        response.begin()
        _check(field, response, target)
        return _body(field, response)
    finally:
        response.close()


def _check(field: str, response: http.client.HTTPResponse, target: Target) -> None:
    if 300 <= response.status < 400:
        raise InvalidInput(field, f"{target.host} redirects, which is not followed", "the final URL")
    if response.status != 200:
        raise InvalidInput(field, f"{target.host} answered {response.status}", "200")
    if response.getheader("Content-Encoding", "identity").strip().lower() != "identity":
        raise InvalidInput(field, f"{target.host} sent a compressed answer", "no Content-Encoding")
    if response.length is not None and response.length > MAX_INPUT_BYTES:
        raise _too_large(field)


def _body(field: str, response: http.client.HTTPResponse) -> bytes:
    body = bytearray()
    for piece in iter(partial(response.read, _CHUNK), b""):
        body += piece
        if len(body) > MAX_INPUT_BYTES:
            raise _too_large(field)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(body)


def _too_large(field: str) -> InvalidInput:
    return InvalidInput(field, "the file is too large", f"at most {MAX_INPUT_BYTES} bytes")


def _left(deadline: float) -> float:
    """Seconds for the next wait.

    Raises:
        TimeoutError: the deadline is over.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(left, READ_S)


class _Timed:
    """What `HTTPResponse` needs of a socket; no read goes past the deadline, however slowly bytes drip."""

    def __init__(self, connection: ssl.SSLSocket, deadline: float) -> None:
        self._raw = _Raw(connection, deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._raw, _CHUNK)


class _Raw(io.RawIOBase):
    def __init__(self, connection: ssl.SSLSocket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # bytes-like is too wide
        self._connection.settimeout(_left(self._deadline))
        return self._connection.recv_into(buffer)
