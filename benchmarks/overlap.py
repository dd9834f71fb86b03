"""Whether a slow encoder and a slow store hold up the engine: `python -m benchmarks overlap`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, ratio, take_turns
from benchmarks.rendering.ordering import occupied, render
from benchmarks.rendering.slowed import SWITCH
from benchmarks.rendering.wanted import mixed

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measuring.farm import Running

LEAST = 0.95
ASKED = (
    "A farm that waits {ms} ms longer in each image encoding and {ms} ms longer in each PUT, against itself without:"
    " an image has one encoding and two PUTs, the base's latents and the file."
)


def main(argv: list[str]) -> int:
    """Measures; 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks overlap", description=__doc__)
    parser.add_argument("--images", type=int, default=96, help="of each arm and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay", type=int, default=50, help="milliseconds, in each of the places")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    options = parser.parse_args(argv)
    outcome = Outcome("overlap", ASKED.format(ms=options.delay), figures=machine())
    with tempfile.TemporaryDirectory(prefix="overlap-") as folder:
        switch = Path(folder) / "slow"
        settings = {"LATENTFARM_MODELS": "tiny", "LATENTFARM_ENGINE": "benchmarks.rendering.slowed:load"}
        os.environ[SWITCH] = str(switch)
        with farm(Path(folder) / "farm", settings) as running:
            measure(outcome, running, switch, options)
    if options.write:
        outcome.write()
    if not options.json:
        sys.stdout.write(outcome.as_text() + "\n")
    sys.stdout.write(outcome.as_json() + "\n")
    return 0 if outcome.is_met else 1


def measure(outcome: Outcome, running: Running, switch: Path, options: argparse.Namespace) -> None:
    """Takes turns with and without the delay in one and the same farm."""
    images, filled = mixed(options.images), {"plain": Filled(), "slow": Filled()}

    def arm(name: str) -> Callable[[], float]:
        def run() -> float:
            if name == "slow":
                switch.write_text(str(options.delay))
            try:
                return filled[name].during(running, lambda: render(running, images))
            finally:
                switch.unlink(missing_ok=True)

        return run

    render(running, images[:8])
    outcome.figures["load of the machine before"] = os.getloadavg()[0]
    rates = take_turns({name: arm(name) for name in filled}, options.rounds)
    for name, found in rates.items():
        outcome.figures[f"{name}: images per second"] = Spread.of(found)
        outcome.figures[f"{name}: occupied share of forwards"] = Spread.of(filled[name].shares)
    outcome.least("slow, times plain", ratio(rates["slow"], rates["plain"]), LEAST)


class Filled:
    """How full the forwards of an arm were: unlike seconds, that does not depend on what else the machine does.

    Attributes:
        shares: of the rows that had a sample, one for each time.
    """

    def __init__(self) -> None:
        self.shares: list[float] = []

    def during(self, running: Running, work: Callable[[], float]) -> float:
        """Does some work, and looks at the worker's counters before and after it."""
        before = occupied(running)
        found = work()
        after = occupied(running)
        self.shares.append((after[0] - before[0]) / max(1, after[1] - before[1]))
        return found
