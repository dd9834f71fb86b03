"""`latentfarm doctor`: what is there, and what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from latentfarm.cli.output import Json, as_json, columns

ENVIRONMENT = "farm.env"
"""What `latentfarm up` leaves in its folder: the settings of its farm."""


def doctor(
    folder: Annotated[
        Path,
        typer.Option(help="Folder of `latentfarm up`; its settings fill in what the environment leaves out."),
    ] = Path(".latentfarm"),
    json_: Json = False,
) -> None:
    """Check what a farm needs, one line each.

    Exits with 1 when something is missing.
    """
    from latentfarm.doctor.examination import examine
    from latentfarm.settings import Settings

    findings = examine(Settings(_env_file=folder / ENVIRONMENT))
    if json_:
        as_json(
            {"ok": all(one.ok for one in findings), "findings": [dataclasses.asdict(one) for one in findings]}
        )
    else:
        columns(
            [("ok" if one.ok else "MISSING", one.name, _line(one.detail, one.advice)) for one in findings]
        )
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


def _line(detail: str, advice: str) -> str:
    return f"{detail}. {advice[:1].upper()}{advice[1:]}" if advice else detail
