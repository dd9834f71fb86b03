"""A plot of what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(slots=True)
class Curve:
    """One or more lines over the same axis.

    Attributes:
        file: of the picture, without its ending.
        lines: name -> points (x, y).
        logarithmic: whether x is drawn so.
    """

    file: str
    title: str
    x: str
    y: str
    lines: dict[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    logarithmic: bool = False

    def draw(self, folder: Path) -> Path:
        """Writes the picture into a folder; returns its path."""
        # Only here: whoever measures alone has no need of it, and it takes a while to import.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.subplots()
        for name, points in self.lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(title=self.title, xlabel=self.x, ylabel=self.y, ylim=(0, None))
        if self.logarithmic:
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
        path = folder / f"{self.file}.png"
        figure.savefig(path, dpi=100)
        return path
