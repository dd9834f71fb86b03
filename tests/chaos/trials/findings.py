"""What a trial found: figures, and bounds that are met or not."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos import invariants, page

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

SHOWN = 5
"""Breaches of one invariant that are told in full."""


@dataclass(slots=True)
class Findings:
    """Figures and bounds of one trial.

    Attributes:
        bounds: what was asked -> value, bound, and whether it is met.
        told: lines for people: which breaches there were.
    """

    name: str
    seed: int
    figures: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def most(self, name: str, value: float, bound: float) -> None:
        """Holds that a value is no larger than its bound."""
        self.bounds[name] = {"value": value, "bound": f"<= {bound:g}", "met": value <= bound}

    def least(self, name: str, value: float, bound: float) -> None:
        """Holds that a value is no smaller than its bound."""
        self.bounds[name] = {"value": value, "bound": f">= {bound:g}", "met": value >= bound}

    def judge(self, evidence: Evidence) -> None:
        """Holds that no invariant is breached."""
        for name, breaches in invariants.check(evidence).items():
            self.most(name, len(breaches), 0)
            self.told += [f"{name}: {breach}" for breach in breaches[:SHOWN]]

    @property
    def is_met(self) -> bool:
        """Whether every bound is."""
        return all(bound["met"] for bound in self.bounds.values())

    def as_json(self) -> str:
        """The last line of the command."""
        figures = {"seed": self.seed, "trial": self.name, **self.figures}
        return json.dumps({"figures": figures, "bounds": self.bounds}, default=str)

    def as_text(self) -> str:
        """A line per bound, then what was breached."""
        lines = [
            f"{'ok ' if bound['met'] else 'RED'} {name}: {bound['value']} ({bound['bound']})"
            for name, bound in self.bounds.items()
        ]
        return "\n".join([f"{self.name}: seed {self.seed}", *lines, *self.told])

    def write(self) -> None:
        """Puts the trial's section into docs/reliability.md."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        judged = [name for name in self.bounds if name in invariants.INVARIANTS]
        breached = sum(bool(self.bounds[name]["value"]) for name in judged)
        lines = [f"\n## Trial {self.name}: seed {self.seed}, {day}\n"]
        for name, value in self.figures.items():
            lines += _table(name, value) if _is_nested(value) else [f"{name}: {_brief(value)}.  "]
        lines += ["", "| asked | found | bound | met |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {bound['value']} | {bound['bound']} | {'yes' if bound['met'] else 'no'} |"
            for name, bound in self.bounds.items()
            if name not in judged
        ]
        if judged:
            lines.append(
                f"| {len(judged)} invariants, breached | {breached} | <= 0 | {'no' if breached else 'yes'} |"
            )
        page.put(self.name, "\n".join(lines) + "\n")


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, dict) for item in value.values())


def _table(name: str, value: dict[str, dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in value.values() for column in row))
    lines = ["", f"| {name} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row, cells in value.items():
        told = [_brief(cells[column]) if column in cells else "" for column in columns]
        lines.append(f"| {row} | {' | '.join(told)} |")
    return [*lines, ""]


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_brief, value)) or "none"
    return str(value)
