"""The one way out to servers that strangers name: https to public addresses, and nothing else.

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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.inputs.addresses import is_public
from latentfarm.inputs.target import HTTPS, Target, is_address, read_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_TRIED = 4
"""Addresses of one name that are tried."""
RESOLVERS = 64
"""Names that are looked up at once. One whose server never answers takes a thread for half a minute, long after whoever
asked has given up: a tenant that has all its slots at such names must leave some to the others."""
_CHUNK = 65_536


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        deadline: on the clock of `time.monotonic`, for everything together.
        one_s: seconds for one read, the handshake, or one connection.
    """

    deadline: float
    one_s: float

    def left(self) -> float:
        """Seconds for the next wait.

        Raises:
            TimeoutError: the deadline is over.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self.one_s)


class Egress:
    """Connects to what a URL names, if that is public. Thread-safe.

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

    def target(self, field: str, url: str) -> Target:
        """What a URL names, as far as that can be told without a look-up.

        Raises:
            InvalidInput: the URL is not allowed, or its host is an address that is not public.
        """
        target = read_target(field, url)
        if target.port not in self._ports:
            raise InvalidInput(field, f"port {target.port} is not allowed", "443")
        if is_address(target.host) and not self._allowed(target.host):
            raise _not_public(field, target)
        return target

    @contextmanager
    def connected(
        self, field: str, url: str, patience: Patience, *, missed: str
    ) -> Iterator[tuple[ssl.SSLSocket, Target]]:
        """A connection to the server of a URL.

        Args:
            field: for errors.
            missed: what the server did not do when it breaks off.

        Raises:
            InvalidInput: the URL is not allowed, leads to what is not public, or the exchange came to nothing.
            ServiceUnavailable: the resolver does not answer.
        """
        target = self.target(field, url)
        addresses = self._addresses(field, target, patience.deadline)
        try:
            with self._connect(addresses, target, patience) as connection:
                yield connection, target
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or "the handshake failed"
            raise InvalidInput(field, f"{target.host} is not to be trusted: {reason}") from error
        except TimeoutError as error:
            raise InvalidInput(
                field, f"{target.host} is too slow", "a faster server, or an upload"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise InvalidInput(field, f"{target.host} {missed}") from error

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
            raise _not_public(field, target)
        return list(found[:MOST_TRIED])

    def _connect(self, addresses: Sequence[str], target: Target, patience: Patience) -> ssl.SSLSocket:
        last: OSError = TimeoutError()
        for address in addresses:
            try:
                plain = socket.create_connection((address, target.port), timeout=patience.left())
            except OSError as error:
                last = error
                continue
            try:
                plain.settimeout(patience.left())
                return self._context.wrap_socket(plain, server_hostname=target.host)
            except BaseException:
                plain.close()
                raise
        raise last


def ask(
    connection: ssl.SSLSocket, request: bytes, method: str, patience: Patience, *, most: int | None = None
) -> http.client.HTTPResponse:
    """Sends a request and gives the answer, whose head has not been read yet.

    Args:
        most: bytes of the answer that are read; no limit here when absent.
    """
    connection.settimeout(patience.left())
    connection.sendall(request)
    timed = _Timed(connection, patience, most)
    return http.client.HTTPResponse(cast("socket.socket", timed), method=method)


def _not_public(field: str, target: Target) -> InvalidInput:
    return InvalidInput(field, f"{target.host} is not public", "a server on the internet")


class _Timed:
    """What `HTTPResponse` needs of a socket; no read goes past the deadline, however slowly bytes drip."""

    def __init__(self, connection: ssl.SSLSocket, patience: Patience, most: int | None) -> None:
        self._raw = _Raw(connection, patience, most)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._raw, _CHUNK)


class _Raw(io.RawIOBase):
    def __init__(self, connection: ssl.SSLSocket, patience: Patience, most: int | None) -> None:
        self._connection = connection
        self._patience = patience
        self._more = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # bytes-like is too wide
        if self._more is not None and self._more <= 0:
            raise http.client.HTTPException("the answer is too long")
        self._connection.settimeout(self._patience.left())
        count = self._connection.recv_into(buffer)
        if self._more is not None:
            self._more -= count
        return count
