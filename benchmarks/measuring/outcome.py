"""What one benchmark found: figures, bounds that are met or not, and curves; its last line, and its section."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import page
from benchmarks.measuring.turns import Spread

if TYPE_CHECKING:
    from benchmarks.measuring.curve import Curve


@dataclass(slots=True)
class Outcome:
    """Of `python -m benchmarks NAME`.

    Attributes:
        asked: one sentence: what is compared with what.
        figures: name -> number, text or `Spread`.
        bounds: what was asked -> value, bound, and whether it is met.
        notes: sentences for readers: what the figures do not say by themselves.
    """

    name: str
    asked: str
    figures: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def least(self, name: str, value: float | Spread, bound: float) -> None:
        """Holds that a value, or the median of a spread, is no smaller than its bound."""
        middle = _middle(value)
        self._hold(name, value, f">= {bound:g}", met=middle >= bound)

    def most(self, name: str, value: float | Spread, bound: float) -> None:
        """Holds that a value, or the median of a spread, is no larger than its bound."""
        middle = _middle(value)
        self._hold(name, value, f"<= {bound:g}", met=middle <= bound)

    def _hold(self, name: str, value: float | Spread, bound: str, *, met: bool) -> None:
        told = {"spread": _plain(value)} if isinstance(value, Spread) else {}
        self.bounds[name] = {"value": round(_middle(value), 4), "bound": bound, "met": met, **told}

    @property
    def is_met(self) -> bool:
        """Whether every bound is."""
        return all(bound["met"] for bound in self.bounds.values())

    def as_json(self) -> str:
        """The last line of the command."""
        figures = {name: _plain(value) for name, value in self.figures.items()}
        return json.dumps({"benchmark": self.name, "figures": figures, "bounds": self.bounds})

    def as_text(self) -> str:
        """A line per figure, then one per bound."""
        lines = [f"   {name}: {_brief(value)}" for name, value in self.figures.items()]
        lines += [
            f"{'ok ' if bound['met'] else 'RED'} {name}: {_told(bound)} ({bound['bound']})"
            for name, bound in self.bounds.items()
        ]
        return "\n".join([f"{self.name}: {self.asked}", *lines, *self.notes])

    def write(self) -> None:
        """Puts the section into docs/benchmarks.md, and its curves beside it."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        lines = [f"\n## {self.name}, {day}\n", f"{self.asked}\n", "| measured | |", "|---|---|"]
        lines += [f"| {name} | {_brief(value)} |" for name, value in self.figures.items()]
        lines += ["", "| asked | found | bound | met |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {_told(bound)} | {bound['bound']} | {'yes' if bound['met'] else '**no**'} |"
            for name, bound in self.bounds.items()
        ]
        lines += [f"\n{note}" for note in self.notes]
        lines += [f"\n![{curve.title}]({curve.draw(page.FOLDER).name})" for curve in self.curves]
        page.put(self.name, "\n".join(lines) + "\n")


def _middle(value: float | Spread) -> float:
    return value.median if isinstance(value, Spread) else value


def _told(bound: dict[str, Any]) -> str:
    spread = bound.get("spread")
    return str(bound["value"]) if spread is None else f"{bound['value']:.3g} ({spread[1]:g} to {spread[2]:g})"


def _plain(value: Any) -> Any:
    """Of a spread: median, smallest, largest."""
    if isinstance(value, Spread):
        return [round(number, 4) for number in (value.median, value.low, value.high)]
    return value


def _brief(value: Any) -> str:
    if isinstance(value, Spread):
        return value.brief()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(item)}" for name, item in value.items())
    return str(value)
