"""docs/benchmarks.md: a section per benchmark, each between marks of its own."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs"
PAGE = FOLDER / "benchmarks.md"


def put(name: str, section: str) -> None:
    """Puts a section in place of the one that the page has under this name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    text = PAGE.read_text()
    if begin not in text:
        text += f"\n{begin}{end}"
    before, _, rest = text.partition(begin)
    PAGE.write_text(before + begin + section + end + rest.partition(end)[2])
