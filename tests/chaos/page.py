"""docs/reliability.md: a section per run."""

from __future__ import annotations

from benchmarks.measuring import page
from tests.chaos.place import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def put(name: str, section: str) -> None:
    """Puts a section in place of the one that the page has under this name."""
    page.put(name, section, page=PAGE)
