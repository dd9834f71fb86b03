"""`latentfarm keys`: create, list, revoke, rotate. On the database itself, so that a first key needs no API."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentfarm.api_keys import NAME, NAME_ALLOWED, Scope
from latentfarm.cli.doctor import ENVIRONMENT
from latentfarm.cli.output import Json, as_json, columns, complain, say
from latentfarm.errors import InvalidInput, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from latentfarm.api_keys import ApiKey
    from latentfarm.key_ring import KeyRing

app = typer.Typer(help="API keys: who may use the farm, and for what.", no_args_is_help=True)

DAY_S, HOUR_S = 86_400, 3_600
_PAGE = 1_000

Folder = Annotated[
    Path,
    typer.Option(help="Folder of `latentfarm up`; its settings fill in what the environment leaves out."),
]
Rate = Annotated[
    str | None,
    typer.Option(
        metavar="RATES|none",
        help="How often it may ask, such as 100/second;3000/minute, in place of the farm's rate.",
    ),
]
Prefix = Annotated[str, typer.Argument(help="Visible part of a key.", metavar="PREFIX")]
_HERE = Path(".latentfarm")


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        list[Scope],
        typer.Option(help="What it may do; repeat for more. `admin`: all of it, for every tenant, and keys."),
    ],
    tenant: Annotated[
        str, typer.Option(help="Whose rows it reaches; empty: the tenant without a name.")
    ] = "",
    expires_days: Annotated[
        int | None, typer.Option(help="Days until it expires; never without this.", min=1, max=3_650)
    ] = None,
    rate: Rate = None,
    folder: Folder = _HERE,
    json_: Json = False,
) -> None:
    """Make a key and print it: the only time that anybody can see it whole."""
    for option, value in (("--name", name), ("--tenant", tenant)):
        if not NAME.fullmatch(value) and (option == "--name" or value):
            raise InvalidInput(option, "not one usable name", NAME_ALLOWED)
    good_s = None if expires_days is None else float(DAY_S * expires_days)
    with _ring(folder) as ring:
        key, text = ring.create(tenant=tenant, name=name, scopes=scope, good_s=good_s, rate=rate)
    _tell_once(key, text, json_=json_)


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Keys of this tenant only.")] = None,
    folder: Folder = _HERE,
    json_: Json = False,
) -> None:
    """List all keys in the order in which they were made, expired and revoked ones too."""
    found: list[ApiKey] = []
    with _ring(folder) as ring:
        while page := ring.listing(tenant=tenant, after=found[-1].prefix if found else None, limit=_PAGE):
            found += page
    if json_:
        as_json({"object": "list", "data": [_plain(key) for key in found]})
        return
    head = ("prefix", "tenant", "name", "scopes", "created", "expires", "last used", "state")
    columns([head, *map(_row, found)])


@app.command()
def revoke(prefix: Prefix, folder: Folder = _HERE, json_: Json = False) -> None:
    """End a key at once and for good. What was handed in with it stays."""
    with _ring(folder) as ring:
        key = ring.revoke(prefix)
    if json_:
        as_json(_plain(key))
    else:
        say(f"{key.prefix}  revoked")


@app.command()
def rotate(
    prefix: Prefix,
    overlap_hours: Annotated[
        int, typer.Option(help="Hours for which the old key is good beside the new one.", min=0, max=720)
    ] = 24,
    rate: Rate = None,
    folder: Folder = _HERE,
    json_: Json = False,
) -> None:
    """Make a key like this one and print it; the old one goes on for some hours."""
    with _ring(folder) as ring:
        key, text = ring.rotate(prefix, overlap_s=float(HOUR_S * overlap_hours), rate=rate)
    _tell_once(key, text, json_=json_)


@contextmanager
def _ring(folder: Path) -> Iterator[KeyRing]:
    from sqlalchemy.exc import SQLAlchemyError

    from latentfarm.database import connect
    from latentfarm.key_ring import KeyRing
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

    settings = Settings(_env_file=folder / ENVIRONMENT)
    engine = connect(settings.database_url, pool=1, application="latentfarm keys")
    try:
        yield KeyRing(Repository(engine))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ServiceUnavailable(f"the database: {reason}; `latentfarm doctor` tells more") from error
    finally:
        engine.dispose()


def _tell_once(key: ApiKey, text: str, *, json_: bool) -> None:
    """The key alone on standard output, so that a script can take it from there."""
    if json_:
        as_json({**_plain(key), "key": text})
        return
    say(text)
    complain(f"{key.prefix} is kept without its secret: this was the only time to see it")


def _plain(key: ApiKey) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in dataclasses.asdict(key).items()
    }


def _row(key: ApiKey) -> tuple[str, ...]:
    state = "revoked" if key.revoked_at else f"replaced by {key.replaced_by}" if key.replaced_by else ""
    times = (_minute(key.created_at), _minute(key.expires_at), _minute(key.last_used_at))
    return key.prefix, key.tenant or "-", key.name, ",".join(key.scopes), *times, state


def _minute(at: datetime | None) -> str:
    return "never" if at is None else at.isoformat(sep=" ", timespec="minutes")
