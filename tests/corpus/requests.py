"""Requests that are bombs, or no HTTP: bytes for a socket, and the status that they get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEBIBYTE = b"x" * 2**20
JSON_ROUTES = (
    "POST /v1/jobs",
    "POST /v1/datasets",
    "POST /v1/uploads",
    "POST /v1/keys",
    "PATCH /v1/tenants/acme",
    "POST /v1/images/generations",
)


@dataclass(frozen=True)
class Bomb:
    """Attributes:
    pieces: what is sent, for as long as the other end takes it.
    statuses: of the answer, one of these; 0: the connection is closed without one.
    """

    name: str
    pieces: Callable[[], Iterator[bytes]]
    statuses: tuple[int, ...]


def _head(route: str, key: str, *more: str) -> bytes:
    lines = [f"{route} HTTP/1.1", "Host: farm", f"Authorization: Bearer {key}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _endless(first: bytes, again: bytes, times: int = 200) -> Iterator[bytes]:
    yield first
    for _ in range(times):
        yield again


def _sized(name: str, head: bytes, *rest: bytes, statuses: tuple[int, ...]) -> Bomb:
    return Bomb(name, lambda: iter((head, *rest)), statuses)


def bombs(key: str) -> list[Bomb]:
    """Forty of them, for an API that takes this key."""
    kind, chunked = "Content-Type: application/json", "Transfer-Encoding: chunked"
    jobs = JSON_ROUTES[0]
    found = [
        _sized(
            f"a gigabyte for {route}", _head(route, key, kind, "Content-Length: 1000000000"), statuses=(413,)
        )
        for route in JSON_ROUTES
    ]
    form = "Content-Type: multipart/form-data; boundary=b"
    found.append(
        _sized(
            "a gigabyte as a form",
            _head("POST /v1/images/edits", key, form, "Content-Length: 1000000000"),
            statuses=(413,),
        )
    )
    found.append(
        _sized(
            "a gigabyte, when asked for",
            _head(jobs, key, kind, "Expect: 100-continue", "Content-Length: 1000000000"),
            statuses=(413,),
        )
    )
    found += [
        _sized(f"length {length}", _head(jobs, key, kind, f"Content-Length: {length}"), statuses=(400, 413))
        for length in ("-1", "abc", "1e9", "0x10", "5, 6", "9" * 40)
    ]
    found.append(
        _sized(
            "two lengths",
            _head(jobs, key, kind, "Content-Length: 2", "Content-Length: 3"),
            b"{}",
            statuses=(400,),
        )
    )
    found.append(
        _sized(
            "a length and chunks",
            _head(jobs, key, kind, "Content-Length: 2", chunked),
            b"0\r\n\r\n",
            statuses=(400,),
        )
    )
    for route in JSON_ROUTES[:3]:
        endless = _head(route, key, kind, chunked), b"100000\r\n" + MEBIBYTE + b"\r\n"
        found.append(Bomb(f"chunks without end for {route}", lambda pair=endless: _endless(*pair), (413,)))  # type: ignore[misc]
    for name, chunk in (
        ("endless", b"5" * 100_000),
        ("no number", b"zz\r\n"),
        ("negative", b"-5\r\n"),
        ("long", b"5;" + b"e" * 200_000 + b"\r\n"),
    ):
        found.append(
            _sized(f"a chunk that is {name}", _head(jobs, key, kind, chunked), chunk, statuses=(400, 0))
        )
    found += [
        _sized("one long header", _head(jobs, key, "X: " + "y" * 1_000_000), statuses=(400, 0)),
        _sized(
            "ten thousand headers",
            _head(jobs, key, *(f"X-{n}: y" for n in range(10_000))),
            statuses=(400, 415, 0),
        ),
        _sized(
            "a long way", f"GET /{'x' * 1_000_000} HTTP/1.1\r\nHost: farm\r\n\r\n".encode(), statuses=(400, 0)
        ),
        _sized("a long method", b"G" * 100_000 + b" / HTTP/1.1\r\n\r\n", statuses=(400, 0)),
        _sized("a header without a name", _head(jobs, key, ": x"), statuses=(400,)),
        _sized("a header with a NUL", _head(jobs, key, "X: \x00"), statuses=(400,)),
        _sized("no host", b"GET /healthz HTTP/1.1\r\n\r\n", statuses=(400,)),
        _sized("two hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", statuses=(400,)),
        _sized("HTTP of another kind", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", statuses=(400, 404)),
        _sized("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", statuses=(400, 404)),
        _sized(
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
            statuses=(400, 0),
        ),
        _sized("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", statuses=(400,)),
        _sized("noise", bytes(range(256)) * 300, statuses=(400, 0)),
    ]
    full = {
        "keys": b'{"prompt":"a"' + b"".join(b',"k%d":1' % n for n in range(90_000)) + b"}",
        "numbers": b'{"prompt":"a","sigmas":[' + b"1," * 500_000 + b"1]}",
        "brackets": b"[" * 2**20,
        "one text": b'{"prompt":"' + b"a" * 1_000_000 + b'"}',
    }
    for name, body in full.items():
        found.append(
            _sized(
                f"a mebibyte of {name}",
                _head(jobs, key, kind, f"Content-Length: {len(body)}"),
                body,
                statuses=(400, 413, 422),
            )
        )
    return found
