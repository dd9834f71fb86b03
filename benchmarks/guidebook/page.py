"""What docs/guide.md says, block by block."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guide.md"
_LINE = re.compile(r"^(?P<marks>##+) (?P<heading>.+)$|^```(?P<language>\w+)$|^!\[[^]]*]\((?P<sheet>[^)]+)\)$")

Kind = Literal["both", "prepare", "shell", "models"]


@dataclass(slots=True)
class Block:
    """What is run at once.

    Attributes:
        kind: `both` columns of a table; Python that `prepare`s files; a line of `shell`; `models`, in TOML.
        title: of the example.
        code: the left column, or the only one.
        farm: the right column.
    """

    kind: Kind
    title: str
    code: str
    farm: str = ""


@dataclass(slots=True)
class Section:
    """A part of the page with one sheet of pictures, a path from the page's folder; empty: none."""

    title: str
    sheet: str = ""
    blocks: list[Block] = field(default_factory=list)


def read(text: str) -> list[Section]:
    """The sections of the page.

    Raises:
        ValueError: a table that has not two blocks, or a block in a language that nobody would run.
    """
    sections, title, column = [Section("")], "", 0
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("<table>"):
            column = 1
        elif line == "</td></tr></table>":
            if column != 3:
                raise ValueError(f"{title}: a table of {column - 1} blocks")
            column = 0
        found = _LINE.match(line)
        if found is None:
            continue
        if found["heading"]:
            title = found["heading"]
            if found["marks"] == "##":
                sections.append(Section(title))
        elif found["sheet"]:
            sections[-1].sheet = found["sheet"]
        else:
            code = "".join(f"{inside}\n" for inside in iter(lambda: next(lines), "```"))
            _add(sections[-1], title, found["language"], code, column)
            column += column > 0
    return sections[1:]


def _add(section: Section, title: str, language: str, code: str, column: int) -> None:
    """Puts a block where it belongs: the second of a table beside the first."""
    kinds: dict[str, Kind] = {"python": "both" if column else "prepare", "sh": "shell", "toml": "models"}
    if language not in kinds:
        raise ValueError(f"{title}: a block of {language}")
    if column == 2:
        section.blocks[-1].farm = code
    else:
        section.blocks.append(Block(kinds[language], title, code))
