"""Whose rows a request may see: those of its key's tenant. Without a key a name is believed, on this machine only.

Every statement that reads or changes a row takes the tenant from here, so another tenant's row is not found.
"""

from typing import Annotated

from fastapi import Header, Request

from api.access import HEADER, Caller, forbidden
from latentfarm.api_keys import NAME, NAME_ALLOWED
from latentfarm.errors import InvalidInput


def caller(request: Request) -> Caller:
    """Who asks; of a route that declares what it needs, see `access.needs`."""
    found: Caller = request.state.caller
    return found


def check_manifest(who: Caller, tenant: str, key: str | None) -> None:
    """Keeps tenants from reading each other's manifests in the bucket, where users of keys have a folder each.

    Raises:
        InvalidInput: a key of the bucket outside of `<tenant>/`, from somebody who does not act for all.
    """
    if key is not None and not who.acts_for_all and not (tenant and key.startswith(f"{tenant}/")):
        allowed = f"a key under {tenant}/, or an upload" if tenant else "an upload"
        raise InvalidInput("manifest.key", "not a place in the bucket that is open to this tenant", allowed)


def tenant(
    request: Request,
    x_latentfarm_tenant: Annotated[
        str | None,
        Header(
            description="Whose rows are meant: 1 to 64 letters, digits, `.`, `_` and `-`. Only keys with the scope"
            " `admin`, and requests without a key from the API's own machine, may name another tenant than their own.",
            json_schema_extra={"pattern": rf"^{NAME.pattern}$"},
        ),
    ] = None,
) -> str:
    """The tenant of a request.

    Raises:
        InvalidInput: the header is no name, or there are several.
        AccessError: it names another tenant than the key's, and the key is no admin's.
    """
    who = caller(request)
    if x_latentfarm_tenant is None:
        return who.tenant
    if len(request.headers.getlist(HEADER)) > 1 or not NAME.fullmatch(x_latentfarm_tenant):
        raise InvalidInput(HEADER, "not one usable name", NAME_ALLOWED)
    if x_latentfarm_tenant != who.tenant and not who.acts_for_all:
        raise forbidden(f"{HEADER}: this key is of another tenant, and has not got the scope admin")
    return x_latentfarm_tenant
