"""docs/guide.md as its readers would type it: both columns of every example give the same picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.farm import Farm


@pytest.fixture
def guided(farm: Farm, tmp_path: Path) -> tuple[Farm, Path]:
    """A farm with the page's models and a worker for each queue, and the folder that the page is read in."""
    # Here and not above: diffusers comes with it, and whoever only collects tests has no use for it.
    from benchmarks.guide import prepare

    work = prepare(tmp_path / "guide")
    del farm.environment["LATENTFARM_MODELS"]
    farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
    farm.environment["LATENTFARM_MODELS_FILE"] = str(work / "models.toml")
    farm.api()
    farm.scheduler()
    farm.worker("base")
    farm.worker("refine")
    return farm, work


@pytest.mark.long
def test_the_guides_examples_give_one_picture_in_both_columns(guided: tuple[Farm, Path]) -> None:
    """When only `old_sheets` is missed: python -m benchmarks guide --write."""
    from benchmarks.guide import judge, run
    from benchmarks.guidebook.page import PAGE, read

    farm, work = guided
    figures = judge(run(work, farm.url))
    assert figures["bounds"]["largest_difference"]["met"], figures["differences"]
    assert figures["bounds"]["old_sheets"]["met"], figures["bounds"]
    sections = read(PAGE.read_text())
    tables = [block for section in sections for block in section.blocks if block.kind == "both"]
    # All but the table that loads, and the command.
    assert len(figures["differences"]) == len(tables)
