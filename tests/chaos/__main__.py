"""`python -m tests.chaos run|short`: break a farm, and say whether anything was lost."""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos import report
from tests.chaos.profile import SHORT, SIZES, Profile
from tests.chaos.run import run

if TYPE_CHECKING:
    from types import FrameType


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m tests.chaos")
    commands = found.add_subparsers(dest="command", required=True)
    for name in ("run", "short"):
        command = commands.add_parser(name)
        command.add_argument("--seed", type=int, help="of every choice; drawn and printed when absent")
        command.add_argument("--size", choices=sorted(SIZES), default="normal" if name == "run" else "short")
        command.add_argument("--only", help="kind=n,kind=n in place of the usual faults")
        command.add_argument("--renders", type=int)
        command.add_argument("--window", type=float, help="seconds")
        command.add_argument("--calm", type=float, help="seconds")
        command.add_argument("--keep", type=Path, help="a folder for the logs; removed when absent")
    return found


def main() -> int:
    """0: every bound is met."""
    signal.signal(signal.SIGTERM, _leave)
    given = parser().parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    folder = given.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = run(_profile(given), seed, folder)
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{report.as_text(outcome)}\n{report.as_json(outcome)}\n")
    return 0 if report.is_met(outcome) else 1


def _profile(given: argparse.Namespace) -> Profile:
    profile = SIZES[given.size] if given.command == "run" else SHORT
    changes: dict[str, object] = {}
    if given.only is not None:
        pairs = [part.split("=") for part in given.only.split(",") if part]
        changes["counts"] = {kind: int(count) for kind, count in pairs}
    if given.renders is not None:
        changes["renders"] = given.renders
    if given.window is not None:
        changes["window_s"] = given.window
    if given.calm is not None:
        changes["calm_s"] = given.calm
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]  # each is named above


def _leave(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does: with everything stopped."""
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
