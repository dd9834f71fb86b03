"""Whose rows a request may see. Until keys exist a tenant is taken at its word, and on loopback only."""

import ipaddress
import re
from typing import Annotated

from fastapi import Header, Request

from latentfarm.errors import InvalidInput, NotSupported

HEADER = "X-Latentfarm-Tenant"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens there. A name may lead anywhere, so it does not count."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tenant(
    request: Request,
    x_latentfarm_tenant: Annotated[
        str | None,
        Header(
            description="Whose jobs these are: 1 to 64 letters, digits, `.`, `_` and `-`. Believed on loopback only;"
            " without it, the tenant without a name."
        ),
    ] = None,
) -> str:
    """The tenant of a request.

    Raises:
        NotSupported: there is a header, and others than this machine reach the API.
        InvalidInput: it is no name, or there are several.
    """
    if x_latentfarm_tenant is None:
        return ""
    if not is_loopback(request.app.state.services.settings.api_host):
        raise NotSupported(HEADER, "until API keys exist it is believed on loopback only", "leave it out")
    if len(request.headers.getlist(HEADER)) > 1 or not NAME.fullmatch(x_latentfarm_tenant):
        raise InvalidInput(HEADER, "not one usable name", "1 to 64 letters, digits, '.', '_' and '-'")
    return x_latentfarm_tenant
