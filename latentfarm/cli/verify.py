"""`latentfarm verify`: every object of a job held against SQL, and the bucket against the rows."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from latentfarm.cli.doctor import ENVIRONMENT
from latentfarm.cli.output import Json, as_json, say
from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from latentfarm.settings import Settings
    from latentfarm.verify.trouble import Trouble
    from latentfarm.verify.verifier import Counts, Verifier


def verify(
    jobs: Annotated[list[str] | None, typer.Argument(help="Ids of jobs.", metavar="JOB...")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs, and the whole bucket.")] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Render again what is missing or altered, and delete what no row tells of."
        ),
    ] = False,
    threads: Annotated[int, typer.Option(help="Objects that are read at once.", min=1, max=64)] = 4,
    folder: Annotated[
        Path,
        typer.Option(help="Folder of `latentfarm up`; its settings fill in what the environment leaves out."),
    ] = Path(".latentfarm"),
    json_: Json = False,
) -> None:
    """Read every object of jobs again and compare it with the records; needs the settings of a service.

    Exits with 1 when something is not as the records say, whether it was repaired or not.
    """
    from latentfarm.settings import Settings

    ids = _ids(jobs or [], everything=everything)
    troubles: list[Trouble] = []
    verifier = _verifier(
        Settings(_env_file=folder / ENVIRONMENT), troubles, repair=repair, threads=threads, quiet=json_
    )
    try:
        if everything:
            verifier.everything()
        else:
            verifier.jobs(ids)
    finally:
        verifier.repository.engine.dispose()
    counts = verifier.counts
    if json_:
        found = [trouble.to_json() for trouble in troubles]
        as_json({"ok": counts.troubles == 0, **dataclasses.asdict(counts), "found": found})
    else:
        say(_summary(counts, repair=repair))
    if counts.troubles:
        raise typer.Exit(1)


def _ids(jobs: list[str], *, everything: bool) -> list[UUID]:
    if bool(jobs) == everything:
        raise InvalidInput("JOB", "name jobs, or ask for --all", "one of both")
    try:
        return [UUID(job) for job in jobs]
    except ValueError as error:
        raise InvalidInput("JOB", "not the id of a job", "as `latentfarm jobs list` shows it") from error


def _verifier(
    settings: Settings, troubles: list[Trouble], *, repair: bool, threads: int, quiet: bool
) -> Verifier:
    from latentfarm.database import connect
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store
    from latentfarm.verify.verifier import Verifier

    def tell(trouble: Trouble) -> None:
        if quiet:
            troubles.append(trouble)
        else:
            _clear()
            say(trouble.line())

    engine = connect(settings.database_url, pool=2, application="latentfarm verify")
    return Verifier(
        Repository(engine),
        S3Store.from_settings(settings),
        settings.collect_after_s,
        repair,
        tell,
        _progress,
        threads,
    )


def _progress(counts: Counts) -> None:
    """On a terminal only, in one line that the next one covers."""
    if sys.stderr.isatty():
        sys.stderr.write(
            f"\r{counts.objects} objects, {counts.bytes / 1e6:.0f} MB, {counts.troubles} troubles"
        )
        sys.stderr.flush()


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def _summary(counts: Counts, *, repair: bool) -> str:
    _clear()
    looked = f"{counts.jobs} jobs, {counts.objects} objects, {counts.bytes / 1e6:.1f} MB: "
    if not counts.troubles:
        return looked + "sound"
    done = f", {counts.rendered_again} to be rendered again, {counts.deleted} deleted" if repair else ""
    return f"{looked}{counts.troubles} troubles{done}"
