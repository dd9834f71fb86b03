"""How the commands print: plain columns for people and pipes, one JSON object with `--json`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of text.")]
Api = Annotated[
    str | None,
    typer.Option("--api", envvar="LATENTFARM_API_URL", help="Address of the API.", metavar="URL"),
]


def as_json(value: Any) -> None:
    """Prints a JSON-ready value on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Prints a line on standard output."""
    sys.stdout.write(f"{_safe(text)}\n")


def complain(text: str) -> None:
    """Prints a line on standard error."""
    sys.stderr.write(f"{_safe(text)}\n")


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows whose columns begin at the same place; the last one is as wide as it is."""
    if not rows:
        return
    widths = [max(len(_safe(row[place])) for row in rows) for place in range(len(rows[0]) - 1)]
    for row in rows:
        padded = [_safe(cell).ljust(width) for cell, width in zip(row, widths, strict=False)]
        say("  ".join([*padded, row[-1]]).rstrip())


def _safe(text: str) -> str:
    """A prompt must not move the cursor, colour the terminal or break the line."""
    return "".join(char if char.isprintable() else " " for char in text)
