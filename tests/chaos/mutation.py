"""Proof that the rig can fail: production code is broken on purpose, one way at a time, and must be found out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.place import ROOT
from tests.chaos.run import say

PATCHES = Path(__file__).resolve().parent / "mutants"
LONGEST_S = 600.0
SEED = 7


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break the farm.

    Attributes:
        name: of its patch.
        options: of the short run that is aimed at it.
        expected: invariants of which at least one must be breached.
    """

    name: str
    options: tuple[str, ...]
    expected: tuple[str, ...]

    @property
    def patch(self) -> Path:
        """What it changes."""
        return PATCHES / f"{self.name}.patch"


def _aimed(only: str, *more: str, renders: int = 100, window: int = 25, calm: int = 60) -> tuple[str, ...]:
    sizes = ("--renders", str(renders), "--window", str(window), "--calm", str(calm))
    return ("--only", only, *sizes, "--poison", "0", *more)


MUTANTS = (
    Mutant("claim_without_fence", _aimed("duplicate=15", renders=200), ("7 one lease", "8 state graph")),
    Mutant("commit_without_fence", _aimed("s3_slow=1,freeze=4"), ("7 stale commits", "3 duplicates visible")),
    Mutant(
        "start_counted_at_the_end",
        _aimed("", "--poison", "0.05", "--poison-kinds", "die", renders=60),
        ("9 starts and tries", "1 stuck"),
    ),
    Mutant("upload_after_commit", _aimed("s3_slow=1,child_kill=20", renders=300), ("4 objects",)),
    Mutant(
        "no_republish", _aimed("redis_flush=4,redis_drop=6", renders=300, window=10, calm=45), ("1 stuck",)
    ),
    Mutant("no_rescue", _aimed("node_kill=3", calm=75), ("1 stuck",)),
    Mutant("lease_by_client_clock", _aimed("clock=4,node_kill=2", calm=75), ("7 early rescues", "1 stuck")),
    Mutant("hand_over_in_two", _aimed("child_kill=6"), ("11 one refine per base", "7 one lease")),
    Mutant("put_errors_swallowed", _aimed("s3_errors=4,store_full=10", renders=300), ("4 objects",)),
    Mutant("no_collector", _aimed("node_kill=2"), ("6 orphans",)),
    Mutant("keys_forgotten", _aimed("redis_reset=1", "--twice", "0.5"), ("2 one job per key", "2 unasked")),
    Mutant(
        "cancel_without_fence",
        _aimed("s3_slow=1", "--cancelled", "0.6"),
        ("8 state graph", "10 cancelled", "3 duplicates visible"),
    ),
)


def hunt(names: list[str]) -> dict[str, dict[str, Any]]:
    """Runs each mutant, and tells which invariants were breached."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    return {mutant.name: _judge(mutant) for mutant in chosen}


def _judge(mutant: Mutant) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder)
        _copy(tree)
        applied = subprocess.run(
            ["git", "apply", str(mutant.patch)], cwd=tree, capture_output=True, text=True, check=False
        )
        if applied.returncode:
            return {"killed": False, "by": [], "reason": f"the patch does not apply: {applied.stderr}"}
        breached, reason = _breached(mutant, tree)
    killers = [name for name in breached if name in mutant.expected]
    say(f"{mutant.name}: {'killed by ' + ', '.join(killers) if killers else 'SURVIVED'} {reason}")
    return {"killed": bool(killers), "by": breached, "reason": reason}


def _breached(mutant: Mutant, tree: Path) -> tuple[list[str], str]:
    command = [sys.executable, "-m", "tests.chaos", "short", "--seed", str(SEED), *mutant.options]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            env=_environment(),
        )
        bounds = json.loads(done.stdout.strip().split("\n")[-1])["bounds"]
    except subprocess.TimeoutExpired:
        return [], f"no answer within {LONGEST_S:.0f} s"
    except (ValueError, KeyError):
        return [], f"no figures: {done.stderr[-500:]}"
    return [name for name, bound in bounds.items() if not bound["met"]], ""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _copy(tree: Path) -> None:
    """The working tree without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, tree / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
