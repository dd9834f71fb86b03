"""`latentfarm dataset`: create, list, status, watch, pause, resume, cancel, delete, retry-failed, verify, pull."""

from __future__ import annotations

from typing import Annotated

import typer

from latentfarm.cli.dataset_create import create, default_options
from latentfarm.cli.dataset_files import Name, pull, verify
from latentfarm.cli.dataset_options import RUN_OPTIONS
from latentfarm.cli.dataset_shown import tell
from latentfarm.cli.dataset_watch import follow
from latentfarm.cli.output import Api, Json, as_json, columns, say
from latentfarm.cli.panels import PanelledCommand
from latentfarm.cli.render import with_options
from latentfarm.client import Client

app = typer.Typer(help="Datasets: a manifest of prompts in, shards of images out.", no_args_is_help=True)
app.command(cls=PanelledCommand)(with_options(create, [*RUN_OPTIONS, *default_options()]))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="Datasets on one page, 100 at most.")] = 20,
    after: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    api: Api = None,
    json_: Json = False,
) -> None:
    """List datasets, newest first."""
    with Client(api) as client:
        page = client.datasets.list(limit=limit, after=after)
    if json_:
        as_json(page.model_dump(mode="json"))
        return
    columns(
        [
            (
                one.name,
                one.state,
                f"{one.counts.ended}/{one.counts.images} images",
                f"{one.counts.failed} failed",
                f"{one.counts.sealed}/{one.counts.shards} shards",
            )
            for one in page.data
        ]
    )
    if page.has_more:
        say(f"more: latentfarm dataset list --after {page.next_cursor}")


@app.command()
def status(name: Name, api: Api = None, json_: Json = False) -> None:
    """Show a dataset: state, counts, failures by class, speed."""
    with Client(api) as client:
        tell(client.datasets.get(name), json_=json_)


@app.command()
def watch(name: Name, api: Api = None, json_: Json = False) -> None:
    """Follow a dataset to its end. Exits with 1 when it did not succeed."""
    with Client(api) as client:
        ended = follow(client, name)
    tell(ended, json_=json_)
    if ended.state != "succeeded":
        raise typer.Exit(1)


@app.command()
def pause(name: Name, api: Api = None, json_: Json = False) -> None:
    """Hold back what has not been sent to a worker yet."""
    with Client(api) as client:
        tell(client.datasets.pause(name), json_=json_)


@app.command()
def resume(name: Name, api: Api = None, json_: Json = False) -> None:
    """Let a paused dataset go on."""
    with Client(api) as client:
        tell(client.datasets.resume(name), json_=json_)


@app.command()
def cancel(name: Name, api: Api = None, json_: Json = False) -> None:
    """Take a dataset back. Sealed shards stay."""
    with Client(api) as client:
        tell(client.datasets.cancel(name), json_=json_)


@app.command("retry-failed")
def retry_failed(name: Name, api: Api = None, json_: Json = False) -> None:
    """Queue failed images again, and nothing else."""
    with Client(api) as client:
        found = client.datasets.retry_failed(name)
    if json_:
        as_json(found.model_dump(mode="json"))
    else:
        say(f"{found.dataset.name}  {found.dataset.state}  {found.retried} queued again")


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="Names of datasets.", metavar="NAME...")], api: Api = None
) -> None:
    """Throw datasets away that are not at work: files, images and records, for good. Their names are free then."""
    with Client(api) as client:
        for name in names:
            client.datasets.delete(name)
            say(f"{name}  deleted")


app.command()(verify)
app.command()(pull)
