"""Pages of results: a section per run, each between marks of its own."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs"
PAGE = FOLDER / "benchmarks.md"


def put(name: str, section: str, *, page: Path | None = None) -> None:
    """Puts a section in place of the one that a page, docs/benchmarks.md, has under this name."""
    page = page or PAGE
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    text = page.read_text()
    if begin not in text:
        text += f"\n{begin}{end}"
    before, _, rest = text.partition(begin)
    page.write_text(before + begin + section + end + rest.partition(end)[2])
