"""Schemathesis, run against an API: what it asked, what was answered, and what it has found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PHASES = {"examples", "coverage", "fuzzing", "stateful"}
LEFT_OUT = "positive_data_acceptance"
"""The one check that no honest API holds: a schema cannot say what fits a model, or that steps fall."""
WIDEST = (
    "POST /v1/jobs",
    "POST /v1/datasets",
    "POST /v1/jobs/{job_id}/refine",
    "POST /v1/images/generations",
    "POST /v1/images/edits",
    "POST /replicate/v1/predictions",
)
"""Those whose bodies have the fields of a spec: half of the coverage phase, and the corpus tries each field by hand."""


@dataclass
class Findings:
    """What a run was like.

    Attributes:
        requests: that were answered.
        statuses: answers by operation and status.
        phases: how each phase has ended.
        operations: asked, of those in the document.
        failures: what is wrong, for people.
    """

    requests: int = 0
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    phases: dict[str, str] = field(default_factory=dict)
    operations: tuple[int, int] = (0, 0)
    failures: str = ""


def fuzz(url: str, key: str, folder: Path, *, examples: int, limit_s: float, whole: bool = True) -> Findings:
    """Asks an API all that its OpenAPI document allows, and much that it forbids. The same for the same document.

    Args:
        key: an API key with every scope.
        folder: an empty one for the reports.
        examples: drawn requests per operation; those of the coverage phase come on top.
        limit_s: seconds that the run may take.
        whole: the coverage phase asks for every case of the widest bodies too, and by every method that a path lacks.
    """
    if not whole:
        (folder / "schemathesis.toml").write_text(
            'phases.coverage.unexpected-methods = ["trace"]\n'
            f"[[operations]]\ninclude-name = {json.dumps(WIDEST)}\nphases.coverage.enabled = false\n"
        )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *("-H", f"Authorization: Bearer {key}"),
        *("--exclude-checks", LEFT_OUT, "--max-examples", str(examples), "--request-timeout", "30"),
        *("--generation-deterministic", "--continue-on-failure", "--no-shrink", "--warnings", "off"),
        *("--report", "json,ndjson", "--report-json-path", "all.json", "--report-ndjson-path", "each.ndjson"),
        *("--suppress-health-check", "all", "--no-color"),
    ]
    ended = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout[-5000:]
    told = json.loads((folder / "all.json").read_text())
    found = Findings(operations=(told["operations"]["tested"], told["operations"]["total"]))
    found.phases = {name: phase["status"] for name, phase in told["phases"].items()}
    if told["failures"] or told["test_cases"]["errored"] or ended.returncode:
        found.failures = ended.stdout[-20_000:]
    with (folder / "each.ndjson").open() as lines:
        for line in lines:
            if line.startswith('{"ScenarioFinished"'):
                _count(found, json.loads(line)["ScenarioFinished"]["recorder"])
    return found


def _count(found: Findings, recorder: dict[str, Any]) -> None:
    for name, interaction in recorder.get("interactions", {}).items():
        response = interaction.get("response")
        if response is None:
            found.failures += f"{recorder['label']}: no answer\n"
            continue
        case = recorder["cases"][name]["value"]
        found.requests += 1
        found.statuses.setdefault(f"{case['method']} {case['path']}", Counter())[response["status_code"]] += 1
