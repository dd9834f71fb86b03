"""Runs docs/guide.md from top to bottom: the left columns in stock pipelines, the right ones on a farm."""

from __future__ import annotations

import contextlib
import io
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image
from typer.testing import CliRunner

from benchmarks.guidebook.stand_in import on_this_machine
from latentfarm.cli.app import app
from latentfarm.client import Client
from latentfarm.pixels import largest_difference, open_picture

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.guidebook.page import Block, Section
    from latentfarm.cli.sheet import Labelled

PATIENCE_S = 300.0


class BrokenPageError(Exception):
    """What the page says does not work."""


@dataclass(slots=True)
class Shown:
    """What a section's blocks gave.

    Attributes:
        tiles: pictures with their titles, as the sheet has them.
        differences: from diffusers, in steps of 1/255, by title.
    """

    tiles: list[Labelled] = field(default_factory=list)
    differences: dict[str, int] = field(default_factory=dict)


class Reader:
    """Someone who types the page's blocks, those of each column in a session of its own.

    Args:
        folder: where the sessions are, with the files that the page takes for granted.
        tiny: the tiny model's folder.
        url: of a farm with the page's models.
    """

    def __init__(self, folder: Path, tiny: Path, url: str) -> None:
        self._folder, self._tiny, self._url = folder, tiny, url
        self._stock: dict[str, Any] = {}
        self._farm: dict[str, Any] = {}

    def read(self, section: Section) -> Shown:
        """Runs a section's blocks in order.

        Raises:
            BrokenPageError: a job or a command did not succeed.
        """
        shown = Shown()
        with contextlib.chdir(self._folder):
            for block in section.blocks:
                if block.kind == "both":
                    self._both(block, shown)
                elif block.kind == "prepare":
                    self._prepare(block, shown)
                elif block.kind == "shell":
                    self._shell(block, shown)
        return shown

    def leave(self) -> None:
        """Ends the sessions: the page's own client keeps its connections until then."""
        if "farm" in self._farm:
            self._farm["farm"].close()

    def _both(self, block: Block, shown: Shown) -> None:
        for session in (self._stock, self._farm):
            session.pop("image", None)
            session.pop("job", None)
        # In this order stock paints here while the farm does.
        self._run(block.title, block.farm, self._farm)
        self._run(block.title, block.code, self._stock)
        if "image" in self._stock or "job" in self._farm:
            self._compare(block.title, self._picture(), shown)

    def _picture(self) -> Image.Image:
        with Client(self._url) as client:
            job = client.wait(self._farm["job"], timeout=PATIENCE_S)
            if job.state != "succeeded":
                raise BrokenPageError(f"a job ended as {job.state}: {[image.error for image in job.images]}")
            return open_picture(client.image(job))

    def _compare(self, title: str, picture: Image.Image, shown: Shown) -> None:
        difference = largest_difference(picture, self._stock["image"])
        shown.differences[title] = max(difference, shown.differences.get(title, 0))
        shown.tiles.append((picture, title))

    def _prepare(self, block: Block, shown: Shown) -> None:
        before = dict(self._stock)
        self._run(block.title, block.code, self._stock)
        shown.tiles += [
            (value, name)
            for name, value in self._stock.items()
            if isinstance(value, Image.Image) and before.get(name) is not value
        ]

    def _shell(self, block: Block, shown: Shown) -> None:
        """A command of latentfarm: its picture is that of the block above it."""
        _, *words = shlex.split(on_this_machine(block.code, self._tiny, self._url))
        ran = CliRunner().invoke(app, [*words, "--api", self._url, "--json"])
        if ran.exit_code != 0:
            raise BrokenPageError(f"{block.title}: {ran.output}{ran.exception!r}")
        (file,) = (self._folder / words[words.index("-o") + 1]).iterdir()
        difference = largest_difference(open_picture(file.read_bytes()), self._stock["image"])
        shown.differences[f"{block.title}, shell"] = difference

    def _run(self, title: str, code: str, session: dict[str, Any]) -> None:
        ours = compile(on_this_machine(code, self._tiny, self._url), f"guide: {title}", "exec")
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            exec(ours, session)  # noqa: S102 - the repository's own page
