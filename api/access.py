"""Who asks, and whether they may: the one place where a request meets the API keys.

Each route says what it needs with `needs(Scope.READ)` among its `dependencies`; a test holds every route to that.
What the caller reaches follows from `request.state.caller`, which `tenancy.tenant` reads; a route that needs
nothing has no caller, and so no tenant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.binding import is_loopback
from api.problems import ProblemError
from api.rates import Rates
from latentfarm.api_keys import MARK, ApiKey, Scope, allows

SCHEME = "ApiKey"
"""Name of the security scheme in the OpenAPI document."""
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
"""A proxy that writes one of these brings requests of others. Never a reason to trust, only one not to."""


HEADER = "X-Latentfarm-Tenant"


class AccessError(ProblemError):
    """A request that is refused for who asks: 401 or 403, or 429 for how often."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        tenant: whose rows they reach when they name no tenant.
        key: None: somebody on this machine, without a key.
    """

    tenant: str
    key: ApiKey | None

    @property
    def acts_for_all(self) -> bool:
        """Whether they may name any tenant."""
        return self.key is None or allows(self.key.scopes, Scope.ADMIN)


def unauthorized(detail: str) -> AccessError:
    """401. The same for a key that is unknown, expired, revoked or no key at all."""
    refusal = AccessError(HTTPStatus.UNAUTHORIZED, "unauthorized", detail)
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


def forbidden(detail: str) -> AccessError:
    """403, for a usable key."""
    return AccessError(HTTPStatus.FORBIDDEN, "forbidden", detail)


def _pass_on(refusal: ProblemError | None) -> None:
    """Raises it as an AccessError, so that it takes the shape of its route."""
    if refusal is not None:
        error = AccessError(refusal.status, refusal.code, refusal.detail)
        error.headers.update(refusal.headers)
        raise error


def needs(
    scope: Scope,
    *,
    keyless: bool = True,
    any_bearer: bool = False,
    refusal: Callable[[AccessError], Exception] = lambda error: error,
) -> Any:
    """For `dependencies` of a route: what it takes to use it.

    Args:
        keyless: whether somebody on this machine may use it without a key, where the settings let them.
        any_bearer: whether a token that is no key of ours counts as none. Clients of other APIs cannot leave it out.
        refusal: what is raised in place of a 401 or 403 problem, for routes whose errors have another shape.
    """
    return Security(_Needs(keyless, any_bearer, refusal, scope), scopes=[scope.value])


async def sees_all(request: Request) -> bool:
    """Whether who asks could use the routes of an admin; for routes that are open to all, and tell strangers less."""
    try:
        await _Needs(keyless=True, any_bearer=False, refusal=lambda error: error, scope=Scope.ADMIN)(
            request, None
        )
    except (AccessError, SQLAlchemyError):
        return False
    return True


class _Scheme(SecurityBase):
    """Puts the scheme into the OpenAPI document; what it describes is done by `_Needs`."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="A key as `latentfarm keys create` makes them.")
        self.scheme_name = SCHEME

    def __call__(self) -> None:
        """Asks nothing."""


_SCHEME = _Scheme()


@dataclass(frozen=True)
class _Needs:
    keyless: bool
    any_bearer: bool
    refusal: Callable[[AccessError], Exception]
    scope: Scope

    async def __call__(self, request: Request, _: Annotated[None, Depends(_SCHEME)]) -> None:
        """Lets the request pass, and says who asks.

        Raises:
            AccessError: 401, 403 or 429, or what `refusal` makes of it.
        """
        rates = request.app.state.services.rates
        try:
            caller = request.state.caller = await self._admit(request, rates)
            _pass_on(await rates.admit(request, caller.key, caller.tenant or request.headers.get(HEADER, "")))
        except AccessError as error:
            raise self.refusal(error) from None

    async def _admit(self, request: Request, rates: Rates) -> Caller:
        token = _bearer(request)
        if token is None or (self.any_bearer and not token.startswith(MARK)):
            return self._without_key(request)
        _pass_on(rates.check_address(request, token))
        key = await run_in_threadpool(request.app.state.services.keys.find, token)
        if key is None:
            await rates.failed(request)
            raise unauthorized("this API key is unknown, expired or revoked")
        rates.passed(token)
        if not allows(key.scopes, self.scope):
            raise forbidden(f"this needs a key with the scope {self.scope}; {key.prefix} has not got it")
        return Caller(key.tenant, key)

    def _without_key(self, request: Request) -> Caller:
        settings = request.app.state.services.settings
        proxied = any(name in request.headers for name in _FORWARDED)
        # A page of another site, in a browser on this machine, can post forms and requests without a body.
        origin = request.headers.get("Origin")
        strange = origin is not None and origin != str(request.base_url).rstrip("/")
        keyed = not self.keyless or settings.require_keys or not is_loopback(settings.api_host)
        if keyed or proxied or strange or not _leads_here(request.url.hostname, settings.api_url):
            raise unauthorized(
                f"this needs an API key with the scope {self.scope}: Authorization: Bearer lf_..."
            )
        return Caller("", None)


def _leads_here(host: str | None, api_url: str) -> bool:
    """Whether a Host is one by which this machine calls itself, or where clients find the API.

    A page of another site may have its own name lead to loopback (DNS rebinding). To the browser the API then is of that
    site: no Origin is sent, and the page may read the answers. The name is what gives it away.
    """
    if host is None:
        return False
    return is_loopback(host) or host.endswith(".localhost") or host == urlsplit(api_url).hostname


def _bearer(request: Request) -> str | None:
    """The token of a request; None when it has no Authorization header."""
    given = request.headers.getlist("Authorization")
    if not given:
        return None
    scheme, _, token = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("Authorization is not one `Bearer lf_...`")
    return token.strip()
