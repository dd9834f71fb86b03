"""`latentfarm webhooks`: create, list, rotate, enable, disable, delete, deliveries, replay."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from latentfarm.cli.output import Api, Json, as_json, columns, complain, say
from latentfarm.client import Client
from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from latentfarm.hook_views import DeliveryView, WebhookCreated, WebhookView

app = typer.Typer(help="Webhooks: who is told of the end of jobs, and what was sent.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="Id of a webhook; default is that of the URLs that jobs name.", metavar="ID")
]
State = Annotated[str | None, typer.Option(metavar="due|delivered|failed", help="Those that stand so only.")]
_TIME = "ISO 8601, such as 2026-01-31T12:00:00Z"


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="An https URL on port 443 of a public server.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="What it is told of, such as job.failed; repeat for more. Without: of all ends."),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="Words of the payload: native or openai.")
    ] = "native",
    api: Api = None,
    json_: Json = False,
) -> None:
    """Make a webhook and print its secret: the only time that anybody can see it."""
    with Client(api) as client:
        _tell_once(client.webhooks.create(url, events=tuple(event or ()), form=format_), json_=json_)


@app.command("list")
def list_(api: Api = None, json_: Json = False) -> None:
    """List webhooks in the order in which they were made, disabled ones too."""
    with Client(api) as client:
        found = client.webhooks.all()
    if json_:
        as_json([one.model_dump(mode="json") for one in found])
        return
    columns(
        [
            (str(one.id), one.format, ",".join(one.events) or "all ends", _state(one), one.url or "")
            for one in found
        ]
    )


@app.command()
def rotate(
    name: Name,
    overlap_hours: Annotated[
        int, typer.Option(help="Hours for which the old secret signs beside the new one.", min=0, max=720)
    ] = 24,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Give a webhook a new secret and print it; the old one signs beside it for some hours."""
    with Client(api) as client:
        _tell_once(client.webhooks.rotate(name, overlap_hours=overlap_hours), json_=json_)


@app.command()
def secret(api: Api = None) -> None:
    """Print the secret that signs what goes to the URLs that jobs name."""
    with Client(api) as client:
        say(client.webhooks.default_secret())


@app.command()
def enable(name: Name, api: Api = None) -> None:
    """Tell a webhook again of what happens from now on; `replay` sends what was given up."""
    with Client(api) as client:
        say(_state(client.webhooks.change(name, enabled=True)))


@app.command()
def disable(name: Name, api: Api = None) -> None:
    """Tell a webhook nothing more, and give up what is due to it."""
    with Client(api) as client:
        say(_state(client.webhooks.change(name, enabled=False)))


@app.command()
def delete(name: Name, api: Api = None) -> None:
    """Forget a webhook, with its log and what is due to it."""
    with Client(api) as client:
        client.webhooks.delete(name)
    say(f"{name}  deleted")


@app.command()
def deliveries(
    name: Name,
    state: State = None,
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many.", min=1)] = 20,
    api: Api = None,
    json_: Json = False,
) -> None:
    """List what was sent to a webhook, or will be, newest first."""
    with Client(api) as client:
        found = list(islice(client.webhooks.deliveries(name, state=state, limit=min(limit, 100)), limit))
    if json_:
        as_json([one.model_dump(mode="json") for one in found])
        return
    columns([_row(one) for one in found])


@app.command()
def replay(
    name: Name,
    delivery: Annotated[str | None, typer.Argument(help="Id of one delivery; without, say --since.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"Events from then on: {_TIME}.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="And before then; now without it.")
    ] = None,
    state: Annotated[
        str, typer.Option(metavar="failed|delivered|all", help="Those that ended so.")
    ] = "failed",
    api: Api = None,
) -> None:
    """Send one delivery again, or those of a time, under the ids that they had."""
    if (delivery is None) == (since is None):
        raise InvalidInput("replay", "give the id of a delivery, or --since", "one of the two")
    with Client(api) as client:
        if delivery is not None:
            found = client.webhooks.replay(name, delivery)
            say(f"{found.id}  {found.state}")
            return
        count = client.webhooks.replay_range(
            name,
            since=_time("--since", since or ""),
            until=None if until is None else _time("--until", until),
            state=None if state == "all" else state,
        )
    say(f"{count} due again")


def _time(option: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(option, f"cannot read {text!r}", _TIME) from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _tell_once(hook: WebhookCreated, *, json_: bool) -> None:
    """The secret alone on standard output, so that a script can take it from there."""
    if json_:
        as_json(hook.model_dump(mode="json"))
        return
    say(hook.secret)
    complain(f"webhook {hook.id}; its secret cannot be read again")


def _state(hook: WebhookView) -> str:
    if hook.disabled_at is not None:
        return f"disabled ({hook.disabled_reason})"
    since = hook.failing_since
    return "enabled" if since is None else f"failing since {since.isoformat(timespec='minutes')}"


def _row(one: DeliveryView) -> tuple[str, ...]:
    last = one.log[-1] if one.log else None
    told = "" if last is None else last.error or f"{last.status} in {last.ms} ms"
    return str(one.id), one.created_at.isoformat(timespec="seconds"), one.type, one.state, str(one.job), told
