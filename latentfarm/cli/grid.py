"""`latentfarm grid`: a contact sheet of files, or of what a job has made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from latentfarm.cli.output import Api, say
from latentfarm.cli.sheet import contact_sheet
from latentfarm.client import Client
from latentfarm.errors import InvalidInput
from latentfarm.pixels import open_picture
from latentfarm.provenance import read_provenance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.cli.sheet import Labelled


def grid(
    names: Annotated[list[str], typer.Argument(help="Image files, or the id of a job.", metavar="FILES|JOB")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The sheet: .png, .jpg or .webp.")] = Path(
        "sheet.png"
    ),
    columns: Annotated[
        int | None, typer.Option(min=1, help="Pictures in a row [as square as can be].")
    ] = None,
    side: Annotated[
        int, typer.Option(min=16, max=4096, help="Pixels of a picture's longer side. [256]")
    ] = 256,
    api: Api = None,
) -> None:
    """Put pictures on one sheet, each over its prompt and seed."""
    pictures = list(_of_job(names[0], api) if _is_job(names) else map(_of_file, names))
    sheet = contact_sheet(pictures, columns=columns, side=side)
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:
        raise InvalidInput("--out", f"cannot write {out}: {error}", ".png, .jpg or .webp") from error
    say(f"{out}: {len(pictures)} pictures, {sheet.width}x{sheet.height}")


def _is_job(names: list[str]) -> bool:
    if len(names) != 1 or Path(names[0]).exists():
        return False
    try:
        UUID(names[0])
    except ValueError:
        return False
    return True


def _of_job(job: str, api: str | None) -> Iterator[Labelled]:
    with Client(api) as client:
        for image in client.images(job):
            if image.state == "succeeded":
                data = client.image(job, image.index)
                yield open_picture(data), label(data, str(image.index))


def _of_file(name: str) -> Labelled:
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise InvalidInput("files", f"cannot read {name}: {error.strerror}") from error
    return open_picture(data), label(data, Path(name).name)


def label(data: bytes, name: str) -> str:
    """Prompts and seed of an image of ours, else its name."""
    try:
        found = read_provenance(data)
    except InvalidInput:
        return name
    prompts = [found["spec"].get(field) for field in ("prompt", "prompt_2")]
    return f"{', '.join(text for text in prompts if text)} (seed {found['seed']})"
