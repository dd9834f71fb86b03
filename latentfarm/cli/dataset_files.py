"""`latentfarm dataset pull | verify`: the files of a dataset on this machine."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from latentfarm.cli.output import Api, Json, as_json, complain, say
from latentfarm.client import Client
from latentfarm.client_pull import JOBS
from latentfarm.client_pull import pull as pull_files
from latentfarm.client_verify import verify as verify_files
from latentfarm.client_verify import verify_folder
from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.client_verify import Verified

Name = Annotated[str, typer.Argument(help="Name of a dataset.", metavar="NAME")]
Jobs = Annotated[int, typer.Option(min=1, max=32, help="Files that come at once.")]


def pull(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where its files go.", metavar="DIR")],
    jobs: Jobs = JOBS,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Bring a dataset to a folder. Run it again to go on: files that are there are left alone.

    Exits with 1 when a file did not come as it was made.
    """
    with Client(api) as client:
        dataset = client.datasets.get(name)
        with _bar(_size(client, name), quiet=json_) as tell:
            pulled = pull_files(client.datasets, name, folder, tell, jobs=jobs)
    if json_:
        told = {"kept": pulled.kept, "fetched": pulled.fetched, "wrong": pulled.wrong}
        as_json(told | {"state": dataset.state})
    else:
        say(f"{pulled.fetched} files came, {pulled.kept} were there, in {folder}")
        for path in pulled.wrong:
            complain(f"not as it was made: {path}")
        if not dataset.is_final:
            complain(f"the dataset is {dataset.state}; pull again for what is sealed later")
    if pulled.wrong:
        raise typer.Exit(1)


def verify(
    name: Name,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Where it was pulled to; the farm's own files when absent.", metavar="[DIR]"),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Pull what is not right in DIR again, and look again.")
    ] = False,
    jobs: Jobs = JOBS,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Read every file of a dataset again, and compare digests and rows with its manifest.

    Exits with 1 when something differs.
    """
    if repair and folder is None:
        message = "what the farm's bucket has lost no command makes again"
        raise InvalidInput("--repair", message, "with a folder; for the bucket see docs/datasets.md")
    with Client(api) as client:
        state = client.datasets.get(name).state
        found = _verified(client, name, folder, quiet=json_)
        repaired = list[str]()
        if repair and found.troubles and folder is not None:
            for trouble in found.troubles:
                complain(trouble)
            with _bar(_size(client, name), quiet=json_) as tell:
                repaired = pull_files(client.datasets, name, folder, tell, jobs=jobs).brought
            found = _verified(client, name, folder, quiet=json_)
    if json_:
        as_json(dataclasses.asdict(found) | {"state": state, "repaired": repaired})
    else:
        if repaired:
            say(f"{len(repaired)} files were pulled again")
        _tell(found, state)
    if found.troubles:
        raise typer.Exit(1)


def _verified(client: Client, name: str, folder: Path | None, *, quiet: bool) -> Verified:
    with _bar(_size(client, name), quiet=quiet) as tell:
        if folder is None:
            return verify_files(client.datasets, name, tell)
        return verify_folder(client.datasets, name, folder, tell)


def _tell(found: Verified, state: str) -> None:
    say(f"{found.files} files with {found.images} images read, {len(found.troubles)} not as they should be")
    for trouble in found.troubles:
        complain(trouble)
    if not found.complete:
        complain(f"the dataset is {state}, and has no manifest yet: shards were compared alone")


def _size(client: Client, name: str) -> int:
    return sum(file.size for shard in client.datasets.shards(name) for file in shard.files)


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """What takes the bytes that have come; shows them where there is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    parts = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda number: bar.advance(task, number)
