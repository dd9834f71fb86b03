"""What became of the renders of plain Celery, by what its tasks wrote down."""

from __future__ import annotations

from collections import Counter
from typing import Any

Stages = list[tuple[str, int]]
"""Name and steps of each stage of a render."""


def judge(log: str, accepted: dict[int, Stages]) -> dict[str, Any]:
    """What became of the renders that were accepted, by what their tasks wrote down."""
    starts: Counter[int] = Counter()
    ends: Counter[tuple[int, str]] = Counter()
    for line in log.split("\n")[:-1]:
        what, render, name, _ = line.split()
        if what == "start":
            starts[int(render)] += 1
        else:
            ends[int(render), name] += 1
    final = {render: ends[render, stages[-1][0]] for render, stages in accepted.items()}
    needed = sum(len(stages) for stages in accepted.values())
    return {
        "accepted": len(accepted),
        "ended": sum(count > 0 for count in final.values()),
        "lost": sum(count == 0 for count in final.values()),
        "twice": sum(count > 1 for count in final.values()),
        "stages_started": sum(starts.values()),
        "stages_needed": needed,
    }
