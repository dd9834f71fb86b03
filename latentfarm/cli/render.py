"""`latentfarm render`: a prompt in, pictures out."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from latentfarm import strict_json
from latentfarm.cli.dataset_shown import show_quote
from latentfarm.cli.follow import follow
from latentfarm.cli.options import collect
from latentfarm.cli.output import Api, Json, as_json, columns, complain, say
from latentfarm.client import Client
from latentfarm.errors import InvalidInput
from latentfarm.references import INPUT_FIELDS, is_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from latentfarm.views import ImageView, JobView

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]


def render(
    prompt: Annotated[str | None, typer.Argument(help="What to paint.", show_default=False)] = None,
    *,
    out: Out = Path("out"),
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec", metavar="FILE", help="A spec as JSON (- for standard input); options win over it."
        ),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Hand the job in, and leave.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would take, and store no job.")
    ] = False,
    api: Api = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Render a prompt and save the pictures.

    Prints the job's id and the seed of each picture: with spec and seed it can be made again.
    """
    fields = _from_file(spec) | ({} if prompt is None else {"prompt": prompt})
    with Client(api) as client:
        asked = _uploaded(client, _merged(fields, collect(given)))
        if dry_run:
            show_quote(client.quote(asked), json_=json_)
            return
        job = client.submit(asked)
        if no_wait:
            tell(job, {}, json_=json_)
            return
        if not json_:
            complain(f"job {job.id}, seed {job.seed}")
        finish(client, job, out, json_=json_)


class Offered(Protocol):
    """An option that becomes a parameter of a command."""

    def parameter(self) -> inspect.Parameter:
        """The parameter."""


def with_options(command: Callable[..., None], found: Iterable[Offered]) -> Callable[..., None]:
    """Replaces `**given` in the signature of a command by options."""
    signature = inspect.signature(command, eval_str=True)
    own = [part for part in signature.parameters.values() if part.kind is not inspect.Parameter.VAR_KEYWORD]
    options = [option.parameter() for option in found]

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)

    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # inspect reads it
    run.__annotations__ = {part.name: part.annotation for part in (*own, *options)}
    return run


def finish(client: Client, job: JobView, out: Path | None, *, json_: bool) -> None:
    """Follows a job, saves what it made, and exits with 1 when not all of it came."""
    ended = follow(client, job)
    paths = {} if out is None else client.download(ended, out)
    tell(ended, paths, json_=json_, images=list(client.images(ended)))
    if ended.state != "succeeded":
        raise typer.Exit(1)


def tell(job: JobView, paths: dict[int, Path], *, json_: bool, images: list[ImageView] | None = None) -> None:
    """Prints what became of a job."""
    shown = job.images if images is None else images
    if json_:
        pictures = [
            {
                **image.model_dump(mode="json"),
                "path": str(paths[image.index]) if image.index in paths else None,
            }
            for image in shown
        ]
        as_json(
            {"id": str(job.id), "state": job.state, "seed": job.seed, "spec": job.spec, "images": pictures}
        )
        return
    say(f"{job.id}  {job.state}  seed {job.seed}")
    rows = [
        (str(image.index), f"seed {image.seed}", image.state, str(paths.get(image.index, image.error or "")))
        for image in shown
    ]
    columns(rows)
    for warning in dict.fromkeys(line for image in shown for line in image.warnings):
        complain(f"warning: {warning}")


def _merged(fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Options win, field by field also inside `refiner` and `output`."""
    merged = {**fields, **given}
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            merged[name] = {**fields[name], **value}
    return merged


def _uploaded(client: Client, fields: dict[str, Any]) -> dict[str, Any]:
    """Pictures may be files here: each is uploaded, and its id takes the place of the path."""
    ids: dict[str, str] = {}
    for name in INPUT_FIELDS:
        text = fields.get(name)
        if isinstance(text, str) and not is_reference(text) and text not in ids:
            ids[text] = client.upload(text)
    paths = {name: fields[name] for name in INPUT_FIELDS if fields.get(name) in ids}
    return fields | {name: ids[path] for name, path in paths.items()}


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InvalidInput("--spec", f"cannot read {path}: {error.strerror}") from error
    fields = strict_json.loads(data)
    if not isinstance(fields, dict):
        raise InvalidInput("--spec", "holds no JSON object", json.dumps({"prompt": "..."}))
    return fields
