"""`python -m tests.chaos run|short|celery|mutants` or a trial: break a farm, and say whether anything was lost."""

from __future__ import annotations

import argparse
import dataclasses
import json
import secrets
import shutil
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos import report
from tests.chaos.mutation import hunt
from tests.chaos.plain.variant import both
from tests.chaos.profile import SIZES, Profile
from tests.chaos.run import run

if TYPE_CHECKING:
    from types import FrameType


TRIALS = {
    "single": "one fault at a time: how long until work goes on",
    "failpoints": "kill -9 between any two things that a worker does",
    "freeze": "workers that sleep for two leases and wake",
    "poison": "renders that nobody can make, among healthy ones",
    "spot": "workers that are taken away with 20 s notice",
    "soak": "does anything grow",
}
"""Name, which is that of its module in trials/, and what it asks."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m tests.chaos")
    commands = found.add_subparsers(dest="command", required=True)
    for name, size in (("run", "normal"), ("short", "short"), ("celery", "normal")):
        command = commands.add_parser(name)
        command.add_argument("--seed", type=int, help="of every choice; drawn and printed when absent")
        command.add_argument("--size", choices=sorted(SIZES), default=size)
        command.add_argument("--only", help="kind=n,kind=n in place of the usual faults")
        command.add_argument("--renders", type=int)
        command.add_argument("--window", dest="window_s", type=float, help="seconds")
        command.add_argument("--calm", dest="calm_s", type=float, help="seconds")
        command.add_argument("--poison", type=float, help="share of renders")
        command.add_argument("--poison-kinds", type=lambda text: tuple(text.split(",")))
        command.add_argument("--cancelled", type=float, help="share of jobs")
        command.add_argument("--twice", type=float, help="share of jobs")
        command.add_argument("--keep", type=Path, help="a folder for the logs; removed when absent")
        command.add_argument("--plain", action="store_true", help="plain Celery too, after the farm")
        command.add_argument("--write", action="store_true", help="the tables in docs/reliability.md")
    for name, help_text in TRIALS.items():
        trial = commands.add_parser(name, help=help_text)
        trial.add_argument("--seed", type=int, help="of every choice; drawn and printed when absent")
        trial.add_argument("--keep", type=Path, help="a folder for the logs; removed when absent")
        trial.add_argument("--write", action="store_true", help="the section in docs/reliability.md")
    mutants = commands.add_parser("mutants")
    mutants.add_argument("names", nargs="*", help="all when none is named")
    return found


def main() -> int:
    """0: every bound is met."""
    signal.signal(signal.SIGTERM, _leave)
    given = parser().parse_args()
    if given.command == "mutants":
        return _mutants(given.names)
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    folder = given.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if given.command in TRIALS:
            return _trial(given, seed, folder)
        profile = _profile(given)
        if given.command == "celery":
            return _celery(profile, seed, folder)
        outcome = run(profile, seed, folder)
        if given.plain:
            outcome.plain = both(profile, seed, folder)
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if given.write:
        report.write(outcome)
    sys.stdout.write(f"{report.as_text(outcome)}\n{report.as_json(outcome)}\n")
    return 0 if report.is_met(outcome) else 1


def _trial(given: argparse.Namespace, seed: int, folder: Path) -> int:
    findings = import_module(f"tests.chaos.trials.{given.command}").run(folder, seed)
    if given.write:
        findings.write()
    sys.stdout.write(f"{findings.as_text()}\n{findings.as_json()}\n")
    return 0 if findings.is_met else 1


def _mutants(names: list[str]) -> int:
    found = hunt(names)
    killed = sum(entry["killed"] for entry in found.values())
    bounds = {"mutants killed": {"value": killed, "bound": len(found), "met": killed == len(found)}}
    sys.stdout.write(json.dumps({"figures": found, "bounds": bounds}) + "\n")
    return 0 if killed == len(found) else 1


def _celery(profile: Profile, seed: int, folder: Path) -> int:
    sys.stdout.write(
        json.dumps({"figures": {"seed": seed, **both(profile, seed, folder)}, "bounds": {}}) + "\n"
    )
    return 0


def _profile(given: argparse.Namespace) -> Profile:
    names = ("renders", "window_s", "calm_s", "poison", "poison_kinds", "cancelled", "twice")
    changes = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.only is not None:
        pairs = [part.split("=") for part in given.only.split(",") if part]
        changes["counts"] = {kind: int(count) for kind, count in pairs}
    return dataclasses.replace(SIZES[given.size], **changes)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does: with everything stopped."""
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
