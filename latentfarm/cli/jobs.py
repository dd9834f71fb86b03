"""`latentfarm jobs`: list, show, attempts, cancel, retry, delete, watch, refine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentfarm.cli.dataset_shown import duration, kept
from latentfarm.cli.options import collect, refine_options
from latentfarm.cli.output import Api, Json, as_json, columns, complain, say
from latentfarm.cli.panels import PanelledCommand
from latentfarm.cli.render import Out, finish, tell, with_options
from latentfarm.client import Client

if TYPE_CHECKING:
    from latentfarm.views import AttemptView, JobList, JobView

app = typer.Typer(help="List, show, cancel, retry, delete, watch and refine jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="Id of a job.", metavar="JOB")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="Jobs on one page, 100 at most.")] = 20,
    after: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="queued, running, succeeded, failed or cancelled; again for several."),
    ] = None,
    lane: Annotated[str | None, typer.Option(help="interactive or bulk.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model; * for datasets of several.")] = None,
    kind: Annotated[str | None, typer.Option(help="single, refine or dataset.")] = None,
    created_after: Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601 with offset.")] = None,
    created_before: Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601 with offset.")] = None,
    api: Api = None,
    json_: Json = False,
) -> None:
    """List jobs, newest first; those that all options fit."""
    wanted = {
        "state": state or None,
        "lane": lane,
        "model": model,
        "kind": kind,
        "created_after": created_after,
        "created_before": created_before,
    }
    with Client(api) as client:
        page = _page(client, limit, after, wanted)
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


def _page(client: Client, limit: int, after: str | None, wanted: dict[str, Any]) -> JobList:
    """As many as were asked for, where there are; the API looks at some thousand jobs for each of its pages."""
    page = client.list(limit=limit, after=after, **wanted)
    found = page.data
    while page.has_more and len(found) < limit:
        page = client.list(limit=limit - len(found), after=page.next_cursor, **wanted)
        found = [*found, *page.data]
    return page.model_copy(update={"data": found})


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
        *_origin(found),
        *_waits(found),
        ("created", found.created_at.isoformat(timespec="seconds")),
        ("finished", found.finished_at.isoformat(timespec="seconds") if found.finished_at else "not yet"),
        *kept(found),
        *((name, str(value)) for name, value in found.spec.items() if value not in (None, [], {})),
    ]
    columns(rows)
    columns([(str(image.index), str(image.seed), image.state, image.error or image.url) for image in images])


def _origin(job: JobView) -> list[tuple[str, str]]:
    origin = job.refined_from
    return [] if origin is None else [("refined from", f"{origin.source} of {origin.job}")]


def _waits(job: JobView) -> list[tuple[str, str]]:
    """What is before it, and when its turn may come."""
    if job.queue is None or job.estimate is None:
        return []
    least = "at least " if job.queue.at_least else ""
    place = job.queue.held_back or f"{least}{job.queue.ahead} renders before it in {job.queue.name}"
    estimate = job.estimate
    if estimate.starts_in_s is None:
        return [("waits", place), ("begins", f"not known: {estimate.basis.told}")]
    ends = "not known" if estimate.ends_in_s is None else f"in {duration(estimate.ends_in_s)}"
    begins = f"in {duration(estimate.starts_in_s)}, ends {ends}: {estimate.basis.told}"
    return [("waits", place), ("begins", begins)]


@app.command()
def attempts(
    job: JobId,
    index: Annotated[int, typer.Argument(help="Index of the image, counted from 0.", min=0)] = 0,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Show what happened in each claim of an image: where, how far, how it ended."""
    with Client(api) as client:
        found = client.attempts(job, index)
    if json_:
        as_json([one.model_dump(mode="json") for one in found])
        return
    columns([_told(one) for one in found])


def _told(one: AttemptView) -> tuple[str, ...]:
    steps = "" if one.steps is None else f"{one.steps} steps"
    charge = "refunded" if one.refunded else "charged" if one.charged else ""
    why = ": ".join(part for part in (one.error_class, one.message) if part)
    began = one.started_at.isoformat(timespec="seconds")
    where = f"{one.device} of worker {one.worker}"
    return began, one.stage, where, one.outcome or "running", steps, charge, why


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
def delete(
    jobs: Annotated[list[str], typer.Argument(help="Ids of jobs.", metavar="JOB...")], api: Api = None
) -> None:
    """Throw jobs away: what is at work is cancelled, and images go for good."""
    with Client(api) as client:
        for job in jobs:
            client.delete(job)
            say(f"{job}  deleted")


@app.command()
def retry(
    job: JobId,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Wait for the end, and save the pictures in this folder."),
    ] = None,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Try the failed images of a job again, and no other."""
    with Client(api) as client:
        found = client.retry(job)
        if out is not None:
            finish(client, found, out, json_=json_)
        elif json_:
            as_json(found.model_dump(mode="json"))
        else:
            say(f"{found.id}  {found.state}, {found.remaining} images are tried again")


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


def refine(
    job: JobId,
    *,
    out: Out = Path("out"),
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Hand the new job in, and leave.")] = False,
    api: Api = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Refine the images of a job again, without its base stage, and save them.

    What no option says stays as it was in the job. Each image keeps its seed.
    """
    with Client(api) as client:
        new = client.refine(job, collect(given, refine_options()))
        if no_wait:
            tell(new, {}, json_=json_)
            return
        if not json_:
            complain(f"job {new.id}")
        finish(client, new, out, json_=json_)


app.command(cls=PanelledCommand)(with_options(refine, refine_options()))
