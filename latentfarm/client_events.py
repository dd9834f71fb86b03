"""Server-sent events: parsed, and picked up again where a connection was lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from latentfarm.client_http import CONNECT_S, Http, error_of, may_repeat
from latentfarm.errors import LatentfarmError
from latentfarm.views import EventView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SILENCE_S = 45.0
"""The API sends something every 15 s; after this long the connection counts as lost."""


def parse(lines: Iterable[str]) -> Iterator[EventView]:
    """Events from the lines of a stream. Comments and what is no JSON object are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and "data" in fields else value
            continue
        event = _event(fields)
        fields = {}
        if event is not None:
            yield event


def follow(
    http: Http, path: str, seen: int | None = None, previews: int | None = None
) -> Iterator[EventView]:
    """All events of a job until its last one, over as many connections as that takes.

    Args:
        seen: id of the last event that was read before.
        previews: steps from one preview to the next; None: no previews.

    Raises:
        NotFound: no such job.
        ServiceUnavailable: the API was away for `http.retry_s`.
    """
    tries = http.tries()
    while True:
        last_try = next(tries)
        try:
            for event in _connect(http, path, seen, previews):
                tries = http.tries()
                seen = event.id or seen
                yield event
                if event.is_final:
                    return
        except httpx.TransportError as error:
            if last_try:
                raise http.away(error) from error
        except LatentfarmError as error:
            if last_try or not may_repeat(error):
                raise
        except _Ended:
            return


class _Ended(Exception):  # noqa: N818 - no error
    """204: the job has ended, and all of its events were seen."""


def _connect(http: Http, path: str, seen: int | None, previews: int | None) -> Iterator[EventView]:
    headers = {} if seen is None else {"Last-Event-ID": str(seen)}
    asked = {} if previews is None else {"previews": previews}
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
    with http.client.stream("GET", path, headers=headers, params=asked, timeout=timeout) as response:
        if response.status_code == 204:
            raise _Ended
        if response.status_code >= 400:
            response.read()
            raise error_of(response)
        yield from parse(response.iter_lines())


def _event(fields: dict[str, str]) -> EventView | None:
    try:
        data = json.loads(fields.get("data", ""))
    except ValueError:
        return None
    number = fields.get("id", "")
    kind = fields.get("event", "message")
    if not isinstance(data, dict):
        return None
    return EventView(id=int(number) if number.isdecimal() else None, type=kind, data=data)
