"""`latentfarm tenants`: list, show, set, pause, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentfarm.cli.output import Api, Json, as_json, columns
from latentfarm.client import Client
from latentfarm.errors import InvalidInput
from latentfarm.tenant_views import NAMELESS

if TYPE_CHECKING:
    from latentfarm.tenant_views import TenantView

app = typer.Typer(help="Who shares the farm, and what each may have.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a tenant; - is the one without a name.", metavar="NAME")]
NONE = "none"


@app.command("list")
def list_(api: Api = None, json_: Json = False) -> None:
    """List tenants: all that were ever served, or have settings of their own."""
    with Client(api) as client:
        found = list(client.tenants.all())
    if json_:
        as_json([one.model_dump(mode="json") for one in found])
        return
    columns(
        [
            (
                one.name or NAMELESS,
                f"weight {one.weight:g}",
                f"{one.in_flight} of {_limit(one.max_in_flight)} in flight",
                f"up to {_limit(one.max_queued)} waiting",
                f"{one.used_s:.0f} s had",
                "paused" if one.paused_at else "",
            )
            for one in found
        ]
    )


@app.command()
def show(name: Name, api: Api = None, json_: Json = False) -> None:
    """Show a tenant: its part, its limits, and how it stands."""
    with Client(api) as client:
        _tell(client.tenants.get(_named(name)), json_=json_)


@app.command("set")
def set_(
    name: Name,
    weight: Annotated[
        float | None, typer.Option(help="Its part against the other tenants that wait: 0.01 to 100.")
    ] = None,
    max_in_flight: Annotated[
        str | None, typer.Option(metavar="N|none", help="Renders dispatched or running at once.")
    ] = None,
    max_queued: Annotated[str | None, typer.Option(metavar="N|none", help="Renders that may wait.")] = None,
    max_cost_in_flight: Annotated[
        str | None, typer.Option(metavar="N|none", help="Megapixel-steps of images that are not final.")
    ] = None,
    max_cost_per_day: Annotated[
        str | None, typer.Option(metavar="N|none", help="Megapixel-steps accepted in one day of UTC.")
    ] = None,
    max_storage_bytes: Annotated[
        str | None, typer.Option(metavar="N|none", help="Bytes of images and files that are kept.")
    ] = None,
    max_files: Annotated[
        str | None, typer.Option(metavar="N|none", help="Files of clients, and uploads, kept at once.")
    ] = None,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Change what a tenant may have; what no option says stays."""
    given: dict[str, Any] = {} if weight is None else {"weight": weight}
    counts = {
        "max_in_flight": max_in_flight,
        "max_queued": max_queued,
        "max_storage_bytes": max_storage_bytes,
        "max_files": max_files,
    }
    costs = {"max_cost_in_flight": max_cost_in_flight, "max_cost_per_day": max_cost_per_day}
    given |= {field: _number(field, value) for field, value in counts.items() if value is not None}
    given |= {field: _units(field, value) for field, value in costs.items() if value is not None}
    if not given:
        raise InvalidInput("set", "nothing is to be changed", "--weight, --max-..., see --help")
    with Client(api) as client:
        _tell(client.tenants.set(_named(name), **given), json_=json_)


@app.command()
def pause(name: Name, api: Api = None, json_: Json = False) -> None:
    """Hold back what of a tenant has not been sent to a worker yet."""
    with Client(api) as client:
        _tell(client.tenants.set(_named(name), paused=True), json_=json_)


@app.command()
def resume(name: Name, api: Api = None, json_: Json = False) -> None:
    """Let a paused tenant go on."""
    with Client(api) as client:
        _tell(client.tenants.set(_named(name), paused=False), json_=json_)


def _named(name: str) -> str:
    return "" if name == NAMELESS else name


def _number(field: str, text: str) -> int | None:
    if text == NONE:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InvalidInput(field, f"cannot read {text!r}", "a whole number, or none") from error


def _units(field: str, text: str) -> float | None:
    if text == NONE:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(field, f"cannot read {text!r}", "a number, or none") from error


def _limit(value: float | None) -> str:
    return "any number" if value is None else f"{value:.12g}"


def _quotas(tenant: TenantView) -> list[tuple[str, str]]:
    """Only those that it has."""
    rows = (
        ("cost in flight", tenant.cost_in_flight, tenant.max_cost_in_flight, "megapixel-steps"),
        ("cost today", tenant.cost_today, tenant.max_cost_per_day, "megapixel-steps, until 00:00 UTC"),
        ("storage", tenant.storage_bytes, tenant.max_storage_bytes, "bytes"),
        ("files", tenant.files, tenant.max_files, "kept"),
    )
    return [
        (name, f"{used or 0:.12g} of {most:.12g} {unit}")
        for name, used, most, unit in rows
        if most is not None
    ]


def _tell(tenant: TenantView, *, json_: bool) -> None:
    if json_:
        as_json(tenant.model_dump(mode="json"))
        return
    cost = "not known" if tenant.render_s is None else f"{tenant.render_s:.3g} GPU-seconds"
    rows = [
        ("tenant", tenant.name or NAMELESS),
        ("weight", f"{tenant.weight:g}"),
        ("in flight", f"{tenant.in_flight} of {_limit(tenant.max_in_flight)}"),
        ("waiting", f"{tenant.queued or 0} of {_limit(tenant.max_queued)}"),
        *_quotas(tenant),
        ("GPU-seconds", f"{tenant.used_s:.1f} had, {tenant.deficit_s:.1f} owed"),
        ("one render", cost),
    ]
    if tenant.paused_at is not None:
        rows.append(("paused", f"since {tenant.paused_at.isoformat(timespec='seconds')}"))
    columns(rows)
