"""What workers wrote after they had lost their renders, from three sides: SQL, their logs, and what they asked."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.evidence import Evidence

Write = tuple[str, int, int]
"""Kind, render and fence."""


class Late:
    """Late writes of one trial.

    Args:
        writes: lines of `tests.chaos.writing_engine`.
        folder: of the run, with the logs of the workers.
    """

    RESULTS: ClassVar = frozenset({"finish", "hand_over"})
    STATES: ClassVar = ("rendered", "delivered", "committed")

    def __init__(self, evidence: Evidence, writes: list[dict[str, Any]], folder: Path) -> None:
        self._evidence = evidence
        self._writes = writes
        self._attempts = {(row["render_id"], row["fence"]): row for row in evidence.attempts}
        self._logged = list(_logged(folder))

    def _of(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self._writes if line["what"] == what]

    def accepted(self) -> list[dict[str, Any]]:
        """Results that were accepted of a claim that SQL says was lost; and any write that was asked for after that."""
        found = []
        for line in self._of("answered"):
            attempt = self._attempts[line["render"], line["fence"]]
            stale = attempt["outcome"] == "lost" and line["kind"] in self.RESULTS
            if line["accepted"] and (stale or line["asked_at"] > attempt["ended_at"].timestamp()):
                found.append(line)
        return found

    def _all_refused(self) -> set[Write]:
        return {_key(line) for line in self._of("answered") if not line["accepted"]}

    def refused(self) -> set[Write]:
        """What SQL refused of claims that were lost. A checkpoint can come too late for its own result as well."""
        return {
            (kind, render, fence)
            for kind, render, fence in self._all_refused()
            if self._attempts[render, fence]["outcome"] == "lost"
        }

    def untold(self) -> set[Write]:
        """What was refused, for whatever reason, and no log of a worker tells of it."""
        told = {
            (line["kind"], line["render"], line["fence"])
            for line in self._logged
            if line["event"] in ("result_refused", "write_refused")
        }
        return self._all_refused() - told

    def caught(self) -> Counter[str]:
        """What was being done with the renders of frozen workers, by state."""
        made = {(line["render"], line["fence"]): line["t"] for line in self._of("made")}
        asked = {
            (line["render"], line["fence"]): line["t"]
            for line in self._of("asked")
            if line["kind"] in self.RESULTS
        }
        moments = {line["incarnation"]: line["t"] for line in self._evidence.told("fault")}
        found: Counter[str] = Counter()
        for pair, row in self._attempts.items():
            if row["outcome"] != "lost" or row["worker_id"] not in moments:
                continue
            then = moments[row["worker_id"]]
            reached = (asked.get(pair, then) < then) + (made.get(pair, then) < then)
            found[self.STATES[reached]] += 1
        return found

    def dropped(self) -> dict[str, int]:
        """Results of lost claims that were never sent to SQL: `told`, or the parent was faster."""
        asked = {
            (line["render"], line["fence"]) for line in self._of("asked") if line["kind"] in self.RESULTS
        }
        logged = {
            line["render"] for line in self._logged if line["event"] in ("superseded", "result_not_delivered")
        }
        lost = [
            (line["render"], line["fence"])
            for line in self._of("made")
            if self._attempts[line["render"], line["fence"]]["outcome"] == "lost"
        ]
        silent = [pair for pair in lost if pair not in asked]
        told = sum(pair[0] in logged for pair in silent)
        return {"told": told, "killed_first": len(silent) - told}


def _key(line: dict[str, Any]) -> Write:
    return line["kind"], line["render"], line["fence"]


def _logged(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.glob("worker*.log*"):
        for text in path.read_text(errors="replace").splitlines():
            if text.startswith("{") and '"event"' in text:
                try:
                    yield json.loads(text)
                except json.JSONDecodeError:
                    continue  # Two processes share the file, and one was killed.
