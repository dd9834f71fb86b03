"""Tenants of the client: who shares the farm, and what each may have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import ValidationError

from latentfarm.explain import explain
from latentfarm.tenant_views import NAMELESS, TenantList, TenantSettings, TenantView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.client_http import Http


class Tenants:
    """The tenants of one API; `Client.tenants`. For who runs the farm: with a key of scope `admin`, or on its own machine."""

    def __init__(self, http: Http) -> None:
        self.http = http

    def all(self) -> Iterator[TenantView]:
        """All tenants by name, page by page."""
        after: str | None = None
        while True:
            given = {} if after is None else {"after": after}
            answer = self.http.request("GET", "/v1/tenants", params=given)
            page = TenantList.model_validate_json(answer.content)
            yield from page.data
            if (after := page.next_cursor) is None:
                return

    def get(self, name: str) -> TenantView:
        """A tenant as it stands now.

        Args:
            name: empty for the tenant without one.

        Raises:
            NotFound: nothing of it was ever served, and nobody has set anything.
        """
        return TenantView.model_validate_json(self.http.request("GET", _path(name)).content)

    def set(self, name: str, **wanted: Any) -> TenantView:
        """Changes what is given of the fields of `TenantSettings`; None takes a limit away.

        Raises:
            InvalidInput: names what is wrong; nothing was changed.
        """
        try:
            asked = TenantSettings.model_validate_json(json.dumps(wanted), strict=True)
        except ValidationError as error:
            raise explain(error, TenantSettings)[0] from error
        body = asked.model_dump_json(exclude_unset=True)
        headers = {"Content-Type": "application/json"}
        answer = self.http.request("PATCH", _path(name), content=body, headers=headers)
        return TenantView.model_validate_json(answer.content)


def _path(name: str) -> str:
    return f"/v1/tenants/{quote(name or NAMELESS, safe='')}"
