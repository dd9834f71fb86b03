"""Fetches a stranger's https URL, and nothing that is not public: see `egress`."""

from __future__ import annotations

import http.client
from functools import partial
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.inputs.egress import Egress, Patience, ask
from latentfarm.references import MAX_INPUT_BYTES

if TYPE_CHECKING:
    from latentfarm.inputs.target import Target

READ_S = 4.0
"""Seconds for one read, the handshake, or one connection."""
_CHUNK = 65_536
_ACCEPT = "image/png, image/jpeg, image/webp"


class Fetcher(Egress):
    """Fetches files of at most 20 MiB. Thread-safe."""

    def fetch(self, field: str, url: str, *, deadline: float) -> bytes:
        """The bytes behind a URL.

        Args:
            field: of the spec, for errors.
            deadline: on the clock of `time.monotonic`, for everything together.

        Raises:
            InvalidInput: the URL is not allowed, leads to what is not public, or did not give a file.
        """
        patience = Patience(deadline, READ_S)
        with self.connected(field, url, patience, missed="did not send a file") as (connection, target):
            response = ask(connection, _request(target), "GET", patience)
            try:
                response.begin()
                _check(field, response, target)
                return _body(field, response)
            finally:
                response.close()


def _request(target: Target) -> bytes:
    return (
        f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: latentfarm\r\n"
        f"Accept: {_ACCEPT}\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


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
