"""`latentfarm doctor`: what is there, and what is missing."""

from __future__ import annotations

import dataclasses

import typer

from latentfarm.cli.output import Json, as_json, columns


def doctor(json_: Json = False) -> None:
    """Check what a farm needs, one line each.

    Exits with 1 when something is missing.
    """
    from latentfarm.doctor.examination import examine
    from latentfarm.settings import Settings

    findings = examine(Settings())
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
