"""Tenants: who shares the farm, and what each may have."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy import Connection
from starlette.datastructures import URL

from api.access import needs
from api.deps import Use
from api.limits import TenantBody
from api.openapi import TENANT_BODY, problems
from latentfarm.api_keys import NAME, Scope
from latentfarm.errors import InvalidInput, NotFound
from latentfarm.repository import quota_rows, quotas, tenants
from latentfarm.repository.quotas import Quota, Used
from latentfarm.repository.tenancy import queued
from latentfarm.repository.tenants import Tenant
from latentfarm.tenant_views import NAMELESS, TenantList, TenantView

PAGE = 100


def tenant_name(
    name: Annotated[str, Path(description="Name of a tenant; `-`: the one without a name.", max_length=64)],
) -> str:
    """The tenant of a path.

    Raises:
        InvalidInput: it is no name.
    """
    if name == NAMELESS:
        return ""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "name", "not a usable name", "1 to 64 letters, digits, '.', '_' and '-'; or '-' alone"
        )
    return name


router = APIRouter(prefix="/v1/tenants", tags=["tenants"])

Name = Annotated[str, Depends(tenant_name)]
_SHOWN = problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_CHANGED = problems(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@router.get("", responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY), dependencies=[needs(Scope.ADMIN)])
def listing(
    request: Request,
    use: Use,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="Tenants on one page.")] = PAGE,
    after: Annotated[
        str | None, Query(max_length=64, description="`next_cursor` of the page before.")
    ] = None,
) -> TenantList:
    """Lists tenants by name: all that were ever served, or have settings of their own."""
    before = None if after is None else tenant_name(after)

    def ask(connection: Connection) -> tuple[list[Tenant], dict[str, Quota]]:
        found = tenants.listing(connection, after=before, limit=limit + 1)
        return found, quotas.get(connection, [one.name for one in found])

    found, limits = use.repository.transact(ask)
    shown, more = found[:limit], len(found) > limit
    return TenantList(
        data=[_view(one, limits.get(one.name), None, None, request.base_url) for one in shown],
        has_more=more,
        next_cursor=_segment(shown[-1].name) if more else None,
    )


@router.get("/{name}", responses=_SHOWN, dependencies=[needs(Scope.ADMIN)])
def show(name: Name, request: Request, use: Use) -> TenantView:
    """Shows a tenant: its part, its limits, and how it stands."""

    def ask(connection: Connection) -> TenantView | None:
        tenant = tenants.get(connection, name)
        return None if tenant is None else _in_full(connection, tenant, request.base_url)

    if (shown := use.repository.transact(ask)) is None:
        raise NotFound(f"no tenant {name!r}: nothing of it was ever served, and nobody has set anything")
    return shown


@router.patch("/{name}", responses=_CHANGED, openapi_extra=TENANT_BODY, dependencies=[needs(Scope.ADMIN)])
def change(name: Name, body: TenantBody, request: Request, use: Use) -> TenantView:
    """Changes what is named, and leaves the rest; counts from the next pick on. Makes a tenant that is not there yet.

    `null` takes a limit away. What is on its way goes on, also while the tenant is paused.
    """
    wanted = body.model_dump(exclude_unset=True)
    others = {field: value for field, value in wanted.items() if field not in quotas.FIELDS}

    def set_all(connection: Connection) -> TenantView:
        quota_rows.change(connection, name, wanted)
        return _in_full(connection, tenants.change(connection, name, others), request.base_url)

    return use.repository.transact(set_all)


def _in_full(connection: Connection, tenant: Tenant, base: URL) -> TenantView:
    quota = quotas.get(connection, [tenant.name]).get(tenant.name)
    used = None if quota is None else quotas.used(connection, quota)
    return _view(tenant, quota, used, queued(connection, tenant.name), base)


def _view(
    tenant: Tenant, quota: Quota | None, used: Used | None, waiting: int | None, base: URL
) -> TenantView:
    return TenantView(
        **({} if quota is None else _quota_shown(quota, used)),
        name=tenant.name,
        weight=tenant.weight,
        max_in_flight=tenant.max_in_flight,
        max_queued=tenant.max_queued,
        paused_at=tenant.paused_at,
        in_flight=tenant.in_flight,
        queued=waiting,
        used_s=round(tenant.used_s, 3),
        deficit_s=round(tenant.deficit_s, 3),
        render_s=None if tenant.render_s is None else round(tenant.render_s, 6),
        url=f"{str(base).rstrip('/')}/v1/tenants/{_segment(tenant.name)}",
    )


def _quota_shown(quota: Quota, used: Used | None) -> dict[str, Any]:
    shown = {name: getattr(quota, name) for name in quotas.FIELDS}
    shown |= {"cost_today": round(quota.cost_today, 3), "cost_resets_at": quota.resets_at}
    if used is not None:
        size = None if quota.max_storage_bytes is None else used.size
        files = None if quota.max_files is None else used.files.count
        shown |= {"cost_in_flight": round(used.units, 3), "storage_bytes": size, "files": files}
    return shown


def _segment(name: str) -> str:
    """What paths and cursors call a tenant."""
    return name or NAMELESS
