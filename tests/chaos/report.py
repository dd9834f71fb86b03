"""What a run found, for people (a table) and for programs (one JSON object)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.chaos import page

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


def write(outcome: Outcome) -> None:
    """Puts the run's section into docs/reliability.md."""
    page.put(outcome.profile.name, section(outcome))


def section(outcome: Outcome) -> str:
    """Markdown: one table of what was lost, one of how long it took."""
    figures, breaches = outcome.figures, outcome.breaches
    day = time.strftime("%Y-%m-%d", time.gmtime())
    faults = ", ".join(f"{kind} {count}" for kind, count in figures["faults"].items())
    early, late = outcome.plain.get("early", {}), outcome.plain.get("late", {})
    rows = [
        ("renders accepted", figures["renders"], early.get("accepted", ""), late.get("accepted", "")),
        ("faults", sum(figures["faults"].values()), _sum(early), _sum(late)),
        ("lost", len(breaches["1 lost"]) + len(breaches["9 healthy"]), *_both(outcome, "lost")),
        ("stuck", len(breaches["1 stuck"]), "as lost", "as lost"),
        ("made twice and both seen", len(breaches["3 duplicates visible"]), *_both(outcome, "twice")),
        ("stale commits accepted", len(breaches["7 stale commits"]), "not told", "not told"),
        ("orphans after grace", len(breaches["6 orphans"]), "no bucket", "no bucket"),
        ("work done twice", f"{100 * figures['wasted']:.1f} %", _waste(early), _waste(late)),
    ]
    if not outcome.plain:
        rows = [(name, ours, "not run", "not run") for name, ours, _, _ in rows]
    lines = [
        f"\n## {outcome.profile.name}: seed {outcome.seed}, {day}\n",
        f"Faults: {faults}.\n",
        "| | Latentfarm | plain Celery, early ack | plain Celery, late ack, tuned |",
        "|---|---|---|---|",
        *(f"| {name} | {ours} | {one} | {other} |" for name, ours, one, other in rows),
        "",
        "| fault | interrupted | back in the queue p50 / p99 / max | claimed again p50 / p99 / max |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {parts['queued']['n']} | {_spread(parts['queued'])} | {_spread(parts['claimed'])} |"
            for kind, parts in figures["recovery_s"].items()
        ),
        "",
    ]
    return "\n".join(lines) + "\n"


def _both(outcome: Outcome, name: str) -> list[Any]:
    return [outcome.plain.get(mode, {}).get(name, "") for mode in ("early", "late")]


def _sum(figures: dict[str, Any]) -> Any:
    return sum(figures["faults"].values()) if figures else ""


def _waste(figures: dict[str, Any]) -> str:
    if not figures:
        return ""
    return f"{100 * (figures['stages_started'] / figures['stages_needed'] - 1):.1f} %"


def _spread(figures: dict[str, Any]) -> str:
    if not figures["n"]:
        return ""
    return f"{figures['p50']} / {figures['p99']} / {figures['max']} s"
