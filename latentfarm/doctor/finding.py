"""One line of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has found.

    Attributes:
        name: what was looked at, such as `database`.
        ok: whether it is as it must be.
        detail: what was seen, on one line.
        advice: what to do, when it is not ok.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""


def look(name: str, check: Callable[[], str], advice: str) -> Finding:
    """Runs a check that returns what it saw, and turns whatever it raises into a finding."""
    try:
        return Finding(name, ok=True, detail=check())
    except Exception as error:  # noqa: BLE001 - whatever a broken service raises is the finding
        return Finding(name, ok=False, detail=_line(error), advice=advice)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
