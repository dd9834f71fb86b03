"""Runs every block of docs/guide.md, and compares its two columns: `python -m benchmarks guide`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from benchmarks.equality.queues import Queues
from benchmarks.guidebook.materials import lay_out
from benchmarks.guidebook.page import PAGE, ROOT, read
from benchmarks.guidebook.running import Reader, Shown
from benchmarks.guidebook.stand_in import registry
from latentfarm.cli.sheet import contact_sheet

if TYPE_CHECKING:
    from benchmarks.guidebook.page import Section

Figures = dict[str, Any]
TINY = ROOT / "models" / "tiny"
STALE = 4.0
"""Mean distance of 255 between a sheet and what is painted now, from where on the sheet is an old one."""
_ACROSS = 5


def main(argv: list[str]) -> int:
    """Measures, prints one JSON object as the last line, returns 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks guide", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="draw the page's pictures anew")
    options = parser.parse_args(argv)
    _hush()
    with tempfile.TemporaryDirectory(prefix="guide-") as folder:
        work = prepare(Path(folder))
        with Queues(Path(folder) / "farm", work / "models.toml") as queues:
            shown = run(work, queues.url)
    if options.write:
        for section, found in shown:
            draw(found).save(sheet_of(section), optimize=True)
    figures = judge(shown)
    if not options.json:
        print(json.dumps(figures["differences"], indent=2))
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if all(bound["met"] for bound in figures["bounds"].values()) else 1


def prepare(folder: Path) -> Path:
    """A folder for the page's reader below `folder`: files, and the models.toml of the farm."""
    work = folder / "work"
    lay_out(work, TINY)
    (work / "models.toml").write_text(registry(read(PAGE.read_text()), TINY))
    return work


def run(work: Path, url: str) -> list[tuple[Section, Shown]]:
    """The sections that have pictures, with what came of their blocks."""
    torch.set_num_threads(1)
    reader = Reader(work, TINY, url)
    try:
        shown = [(section, reader.read(section)) for section in read(PAGE.read_text())]
    finally:
        reader.leave()
    return [(section, found) for section, found in shown if found.tiles]


def judge(shown: list[tuple[Section, Shown]]) -> Figures:
    """The differences, and under `bounds` what they must be."""
    differences = {title: by for _, found in shown for title, by in found.differences.items()}
    stale = [section.sheet for section, found in shown if distance(section, found) > STALE]
    return {
        "differences": differences,
        "bounds": {
            "largest_difference": {
                "value": max(differences.values()),
                "bound": 1,
                "met": max(differences.values()) <= 1,
            },
            "old_sheets": {"value": stale, "bound": [], "met": not stale},
        },
    }


def sheet_of(section: Section) -> Path:
    """The file of a section's pictures."""
    return PAGE.parent / section.sheet


def draw(found: Shown) -> Image.Image:
    """A section's pictures, in few enough colours for a repository."""
    sheet = contact_sheet(found.tiles, columns=min(_ACROSS, len(found.tiles)), side=128)
    return sheet.quantize(128, dither=Image.Dither.NONE)


def distance(section: Section, found: Shown) -> float:
    """Mean distance, of 255, between the page's sheet and what is painted now; 255 when sizes differ."""
    path = sheet_of(section)
    if not path.is_file():
        return 255.0
    with Image.open(path) as opened:
        kept, now = (np.asarray(image.convert("RGB"), np.float32) for image in (opened, draw(found)))
    return 255.0 if kept.shape != now.shape else float(np.abs(kept - now).mean())


def _hush() -> None:
    """Stock tells at length what it loads."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
