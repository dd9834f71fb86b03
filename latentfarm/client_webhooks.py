"""Webhooks of the client: who is told of the end of jobs, and what was sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from latentfarm.client_http import error_of
from latentfarm.explain import explain
from latentfarm.hook_views import (
    DeliveryList,
    DeliveryView,
    Replayed,
    ReplayRequest,
    SecretRotation,
    SecretView,
    WebhookChange,
    WebhookCreated,
    WebhookList,
    WebhookRequest,
    WebhookView,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from latentfarm.client_http import Http

M = TypeVar("M", bound=BaseModel)
_PATH = "/v1/webhooks"


class Webhooks:
    """The webhooks of the key's tenant; `Client.webhooks`. `default` names that of the URLs that jobs name."""

    def __init__(self, http: Http) -> None:
        self.http = http

    def create(self, url: str, *, events: tuple[str, ...] = (), form: str = "native") -> WebhookCreated:
        """Makes a webhook; its secret is told this once.

        Raises:
            InvalidInput: names what is wrong; nothing was made.
        """
        wish = {"url": url, "events": list(events), "format": form}
        return self._ask(WebhookCreated, "POST", "", WebhookRequest, wish, once=True)

    def all(self) -> list[WebhookView]:
        """All webhooks but `default`, in the order in which they were made."""
        return self._ask(WebhookList, "GET").data

    def get(self, name: str) -> WebhookView:
        """A webhook as it stands now.

        Raises:
            NotFound: there is none of that id.
        """
        return self._ask(WebhookView, "GET", _of(name))

    def change(self, name: str, **wish: Any) -> WebhookView:
        """Changes what is given of `url`, `events`, `format` and `enabled`.

        Raises:
            InvalidInput: names what is wrong; nothing was changed.
        """
        return self._ask(WebhookView, "PATCH", _of(name), WebhookChange, wish)

    def rotate(self, name: str, *, overlap_hours: int = 24) -> WebhookCreated:
        """Gives a webhook a new secret, told this once; the one before signs beside it for some hours."""
        wish = {"overlap_hours": overlap_hours}
        return self._ask(WebhookCreated, "POST", f"{_of(name)}/rotate", SecretRotation, wish, once=True)

    def delete(self, name: str) -> None:
        """Forgets a webhook, with its log and what is due to it."""
        self.http.request("DELETE", _PATH + _of(name))

    def default_secret(self) -> str:
        """What signs the webhooks that jobs name."""
        return self._ask(SecretView, "GET", "/default/secret").key

    def deliveries(self, name: str, *, state: str | None = None, limit: int = 20) -> Iterator[DeliveryView]:
        """What was sent to a webhook, or will be, newest first, page by page.

        Args:
            limit: deliveries of one page.
        """
        given: dict[str, Any] = {"limit": limit} | ({} if state is None else {"state": state})
        while True:
            answer = self.http.request("GET", f"{_PATH}{_of(name)}/deliveries", params=given)
            page = DeliveryList.model_validate_json(answer.content)
            yield from page.data
            if page.next_cursor is None:
                return
            given["after"] = page.next_cursor

    def replay(self, name: str, delivery: str) -> DeliveryView:
        """Sends one delivery again, under the id that it had."""
        path = f"{_of(name)}/deliveries/{quote(delivery, safe='')}/replay"
        return self._ask(DeliveryView, "POST", path)

    def replay_range(
        self, name: str, *, since: datetime, until: datetime | None = None, state: str | None = "failed"
    ) -> int:
        """Sends those again whose events happened in a time, and that ended in `state` (None: all); how many."""
        wish = {"since": since.isoformat(), "until": until and until.isoformat(), "state": state}
        return self._ask(Replayed, "POST", f"{_of(name)}/replay", ReplayRequest, wish).count

    def _ask(
        self,
        kind: type[M],
        method: str,
        path: str = "",
        asks: type[BaseModel] | None = None,
        wish: dict[str, Any] | None = None,
        *,
        once: bool = False,
    ) -> M:
        given: dict[str, Any] = {}
        if asks is not None:
            try:
                asked = asks.model_validate_json(json.dumps(wish), strict=True)
            except ValidationError as error:
                raise explain(error, asks)[0] from error
            given["content"] = asked.model_dump_json(exclude_unset=True)
            given["headers"] = {"Content-Type": "application/json"}
        send = self._once if once else self.http.request
        return kind.model_validate_json(send(method, _PATH + path, **given).content)

    def _once(self, method: str, path: str, **given: Any) -> httpx.Response:
        """As `Http.request`, without trying again: that would make a second one, and lose the secret of the first."""
        try:
            response = self.http.client.request(method, path, **given)
        except httpx.TransportError as error:
            raise self.http.away(error) from error
        if response.status_code >= 400:
            raise error_of(response)
        return response


def _of(name: str) -> str:
    return f"/{quote(name, safe='')}"
