"""`latentfarm jobs`: list, show, cancel, watch."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import Annotated

import typer

from latentfarm.cli.output import Api, Json, as_json, columns, say
from latentfarm.cli.render import finish
from latentfarm.client import Client

app = typer.Typer(help="List, show, cancel and watch jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="Id of a job.", metavar="JOB")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="Jobs on one page, 100 at most.")] = 20,
    after: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    api: Api = None,
    json_: Json = False,
) -> None:
    """List jobs, newest first."""
    with Client(api) as client:
        page = client.list(limit=limit, after=after)
    if json_:
        as_json(page.model_dump(mode="json"))
        return
    columns(
        [
            (
                str(job.id),
                job.state,
                f"{job.num_images - job.remaining}/{job.num_images}",
                job.model,
                job.prompt[:80],
            )
            for job in page.data
        ]
    )
    if page.has_more:
        say(f"more: latentfarm jobs list --after {page.next_cursor}")


@app.command()
def show(job: JobId, api: Api = None, json_: Json = False) -> None:
    """Show a job with its images."""
    with Client(api) as client:
        found = client.get(job)
        images = list(client.images(job)) if found.images_next is not None else found.images
    if json_:
        as_json(
            {**found.model_dump(mode="json"), "images": [image.model_dump(mode="json") for image in images]}
        )
        return
    counts = ", ".join(f"{number} {state}" for state, number in found.counts.items() if number)
    rows = [
        ("job", str(found.id)),
        ("state", f"{found.state} ({counts})"),
        ("created", found.created_at.isoformat(timespec="seconds")),
        ("finished", found.finished_at.isoformat(timespec="seconds") if found.finished_at else "not yet"),
        *((name, str(value)) for name, value in found.spec.items() if value not in (None, [], {})),
    ]
    columns(rows)
    columns([(str(image.index), str(image.seed), image.state, image.error or image.url) for image in images])


@app.command()
def cancel(job: JobId, api: Api = None, json_: Json = False) -> None:
    """Take a job back, wherever its images are."""
    with Client(api) as client:
        found = client.cancel(job)
    if json_:
        as_json(found.model_dump(mode="json"))
    else:
        say(f"{found.id}  {found.state}")


@app.command()
def watch(
    job: JobId,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to save the pictures in.")] = None,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Follow a job to its end, and save its pictures with -o."""
    with Client(api) as client:
        finish(client, client.get(job), out, json_=json_)
