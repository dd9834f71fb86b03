"""Posts a payload to a stranger's URL, through the same guarded way out as pictures come in by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.inputs.egress import Egress, Patience, ask
from latentfarm.webhooks.plan import wait_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.inputs.target import Target

MOST_HEAD = 65_536
"""Bytes of an answer that are read: its head. What a receiver says besides is not looked at, nor kept."""
GONE = 410
WAIT = frozenset({429, 503})
"""Statuses with which a `Retry-After` says when to come again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try.

    Attributes:
        status: of HTTP; None where there was no answer.
        error: why it failed, in a few words of our own; None: it was taken.
        wait_s: seconds after which the receiver wants it again; 0: it did not say.
    """

    status: int | None
    error: str | None
    wait_s: float = 0.0


class Sender(Egress):
    """Sends payloads. Thread-safe."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str], patience: Patience) -> Answer:
        """Tries once. Taken is what is answered with 2xx within the time, and nothing else."""
        try:
            with self.connected("url", url, patience, missed="broke off") as (connection, target):
                response = ask(connection, _request(target, headers) + body, "POST", patience, most=MOST_HEAD)
                try:
                    response.begin()
                    return _answer(response.status, response.getheader("Retry-After"))
                finally:
                    response.close()
        except InvalidInput as error:
            return Answer(None, error.message)
        except (ServiceUnavailable, HTTPException) as error:
            return Answer(None, str(error))


def _request(target: Target, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: latentfarm\r\n"
        f"{lines}Connection: close\r\n\r\n"
    ).encode("ascii")


def _answer(status: int, retry_after: str | None) -> Answer:
    if 200 <= status < 300:
        return Answer(status, None)
    if 300 <= status < 400:
        return Answer(status, f"redirects ({status}), which is not followed")
    wanted = wait_s(retry_after, datetime.now(UTC)) if status in WAIT else 0.0
    return Answer(status, f"answered {status}" + (f", and asks for {wanted:.0f} s" if wanted else ""), wanted)
