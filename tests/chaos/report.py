"""What a run found, for people (a table) and for programs (one JSON object)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.run import Outcome

SHOWN = 5
"""Breaches of one invariant that are told in full."""


def bounds(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Each invariant: how many breaches, how many are allowed, whether that is met."""
    found = {
        name: {"value": len(breaches), "bound": 0, "met": not breaches}
        for name, breaches in outcome.breaches.items()
    }
    failed = len(outcome.figures["faults_failed"])
    found["faults that could not be injected"] = {"value": failed, "bound": 0, "met": failed == 0}
    return found


def as_json(outcome: Outcome) -> str:
    """The last line of the command."""
    figures = {"seed": outcome.seed, "profile": outcome.profile.name, **outcome.figures}
    return json.dumps({"figures": figures, "bounds": bounds(outcome)}, default=str)


def as_text(outcome: Outcome) -> str:
    """Invariants with their breaches, then the recovery of each kind of fault."""
    lines = [f"seed {outcome.seed}, {outcome.figures['wall_s']:.0f} s"]
    for name, breaches in outcome.breaches.items():
        lines.append(
            f"{'ok ' if not breaches else 'RED'} {name}" + (f": {len(breaches)}" if breaches else "")
        )
        lines += [f"      {breach}" for breach in breaches[:SHOWN]]
    for kind, parts in outcome.figures["recovery_s"].items():
        lines.append(f"{kind:16} back in the queue {parts['queued']}  claimed again {parts['claimed']}")
    lines += [f"skipped: {text}" for text in outcome.figures["faults_skipped"]]
    lines += [f"could not be injected: {text}" for text in outcome.figures["faults_failed"]]
    return "\n".join(lines)


def is_met(outcome: Outcome) -> bool:
    """Whether every bound is."""
    return all(bound["met"] for bound in bounds(outcome).values())
