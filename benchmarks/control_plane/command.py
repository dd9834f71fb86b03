"""The command line that the benchmarks of the control plane have in common."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.measuring.outcome import Outcome


def run(
    name: str,
    about: str | None,
    argv: list[str],
    sizes: Mapping[str, tuple[float, str]],
    measure: Callable[[Path, argparse.Namespace], Outcome],
) -> int:
    """Measures, prints, and returns 1 when a bound is not met.

    Args:
        sizes: option -> its default and what it says.
        measure: is given a folder that is removed afterwards.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=about)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    for option, (default, told) in sizes.items():
        parser.add_argument(f"--{option}", type=type(default), default=default, help=told)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="latentfarm-") as folder:
        outcome = measure(Path(folder), options)
    if options.write:
        outcome.write()
    if not options.json:
        print(outcome.as_text())
    sys.stdout.write(outcome.as_json() + "\n")
    return 0 if outcome.is_met else 1
